/** `lovage board` and `lovage mcp`, as processes of their own. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ProgressNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { Lovage } from "lovage";
import { expect, onTestFinished, test } from "vitest";
import { type Listening, serveBoard } from "../../src/cli/serve-board.ts";
import { follow, module, place } from "./run.ts";

const basic = (auth: string) => ({ authorization: `Basic ${Buffer.from(auth).toString("base64")}` });

test("it serves the app on this machine alone, and ends in peace", async () => {
  const { start } = place();
  const running = start(["board", "-A", module, "--port", "0", "--read-only"]);
  const [, url = ""] = await running.says(/The board of cli, read-only: (http:\/\/127\.0\.0\.1:\d+\/)/);
  const page = await fetch(url);
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=UTF-8"]);
  const queues = (await (await fetch(`${url}api/queues`)).json()) as readonly { readonly queue: string }[];
  expect(queues.map(({ queue }) => queue)).toContain("celery");
  running.process.kill("SIGHUP");
  expect((await running.exited).code).toBe(0);
});

test("the password is asked for where there is one, and what is done is told of its user", async () => {
  const { start, app } = place();
  const running = start(["board", "-A", module, "--port", "0"], { LOVAGE_BOARD_AUTH: "anna:se:cret" });
  const [, url = ""] = await running.says(/: (http:\S+)/);
  const none = await fetch(url);
  expect([none.status, none.headers.get("www-authenticate")]).toEqual([401, 'Basic realm="Lovage", charset="UTF-8"']);
  for (const wrong of ["anna:se:cre", "anna:se:crets", "anna", "", "bert:se:cret", "anna:se:cret:"])
    expect([wrong, (await fetch(`${url}api/queues`, { headers: basic(wrong) })).status]).toEqual([wrong, 401]);
  const headers = { ...basic("anna:se:cret"), "content-type": "application/json" };
  expect((await fetch(url, { headers })).status).toBe(200);
  expect((await fetch(`${url}api/queues/celery/pause`, { method: "POST", headers })).status).toBe(200);
  const [queue] = await app.control.inspect().queues();
  expect(queue?.paused?.by).toBe("anna");
});

test.each([
  [["--host", "0.0.0.0"], "others, who could read and change everything: say who may see it with --auth user:password"],
  [["--host", "::"], "or LOVAGE_BOARD_AUTH, or leave --host out and use a tunnel"],
  [["--host", "192.0.2.1"], "192.0.2.1 can be reached by others"],
  [["--host", "192.0.2.1", "--auth", "a:b"], "192.0.2.1 is no address of this machine"],
  [["--auth", "anna"], "must be a name and a password with a colon between"],
  [["--port", "70000"], "It must be a port, 0 to 65535"],
  [["--base-path", "tools"], 'basePath: must be a path such as "/board"'],
  [["--refresh", "-1"], "It must be a number of seconds"],
])("%j is refused", async (args, why) => {
  const { exited } = place().start(["board", "-A", module, "--port", "0", ...args]);
  const { code, stderr } = await exited;
  expect(stderr).toContain(why);
  expect(code).toBe(2);
});

const local: Listening = { host: "127.0.0.1", port: 0, readOnly: false };
const boardHere = async (limits = {}, listening: Listening = local) => {
  const app = new Lovage("here", { brokerUrl: "memory://", resultBackend: "memory://" });
  const served = await serveBoard(app, listening, limits);
  onTestFinished(async () => {
    await served.close();
    await app.close();
  });
  return { ...served, port: Number(new URL(served.url).port) };
};

test("behind a proxy that offers it under a path its pages lead there, whether or not the path is left in requests", async () => {
  const { url, port } = await boardHere({}, { ...local, basePath: "/tools/lovage/" });
  expect(new URL(url).pathname).toBe("/tools/lovage/");
  for (const path of ["/tools/lovage/", "/"]) {
    const page = await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
    const links = [...page.matchAll(/(?:href|src)="(\/[^"]*)"/g)].map(([, link = ""]) => link);
    expect(links.length).toBeGreaterThan(5);
    for (const link of links) expect(link).toMatch(/^\/tools\/lovage\//);
    const script = links.find((link) => link.endsWith(".js")) ?? "";
    expect((await fetch(`http://127.0.0.1:${port}${script.replace("/tools/lovage", path.slice(0, -1))}`)).status).toBe(
      200,
    );
  }
});

test("what goes to other machines is compressed, and what stays on this one is not", async () => {
  const encoding = async (listening: Listening, headers: Record<string, string> = {}) => {
    const { port } = await boardHere({}, listening);
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers });
    expect([answer.status, (await answer.text()).includes("Queues</h2>")]).toEqual([200, true]);
    return answer.headers.get("content-encoding");
  };
  expect(await encoding(local)).toBeNull();
  expect(await encoding({ ...local, host: "0.0.0.0", auth: "anna:secret" }, basic("anna:secret"))).toBe("gzip");
});

test("a port that is taken is told of", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  const app = new Lovage("here", { brokerUrl: "memory://" });
  await expect(serveBoard(app, { ...local, port })).rejects.toThrow(
    `--port: ${port} is taken by another program; --port 0 takes one that is free`,
  );
});

test("a web site whose name leads to this machine gets nothing", async () => {
  const { port } = await boardHere();
  const ask = async (host: string) => {
    const socket = connect(port, "127.0.0.1");
    socket.write(`GET /api/queues HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    let text = "";
    for await (const chunk of socket) text += chunk;
    return text.split("\r\n")[0];
  };
  expect(await ask("rebound.example")).toBe("HTTP/1.1 421 Misdirected Request");
  expect(await ask("localhost.example")).toBe("HTTP/1.1 421 Misdirected Request");
  expect(await ask(`localhost:${port}`)).toBe("HTTP/1.1 200 OK");
});

test.each([
  ["sends half a head", "GET / HTTP/1.1\r\nhost: x"],
  [
    "sends half a body",
    "POST /api/tasks/retry HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
  ],
])("who %s and then nothing is disconnected", async (_, text) => {
  const { port } = await boardHere({ head: 100, request: 200 });
  const socket = connect(port, "127.0.0.1");
  socket.write(text);
  socket.resume();
  // It may be reset.
  socket.on("error", () => undefined);
  await new Promise((closed) => socket.once("close", closed));
  expect((await fetch(`http://127.0.0.1:${port}/api/queues`)).status).toBe(200);
});

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");

async function agent(args: readonly string[], url: string): Promise<Client> {
  const client = new Client({ name: "test", version: "1" });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [launcher, "mcp", "-A", module, ...args],
    env: { ...(process.env as Record<string, string>), LOVAGE_BROKER_URL: url },
  });
  await client.connect(transport);
  onTestFinished(() => client.close());
  return client;
}

test("an agent looks, and changes something only where it may", async () => {
  const { app } = place();
  const reader = await agent([], app.config.brokerUrl);
  const { tools } = await reader.listTools();
  const names = tools.map(({ name }) => name);
  expect(names).toContain("failures");
  expect(names).not.toContain("control_pause");
  expect(tools.every(({ annotations }) => annotations?.readOnlyHint)).toBe(true);
  const queues = await reader.callTool({ name: "queues", arguments: {} });
  expect(JSON.stringify(queues.content)).toContain("celery");
  const refused = await reader.callTool({ name: "control_pause", arguments: { queue: "celery" } });
  expect(refused).toMatchObject({ isError: true, content: [{ text: expect.stringContaining("without --write") }] });
  const wrong = await reader.callTool({ name: "tasks", arguments: { limit: "many" } });
  expect(wrong).toMatchObject({
    isError: true,
    content: [{ text: expect.stringContaining("limit: must be a whole number") }],
  });

  const writer = await agent(["--write"], app.config.brokerUrl);
  expect((await writer.listTools()).tools.find(({ name }) => name === "forget")?.annotations?.destructiveHint).toBe(
    true,
  );
  await writer.callTool({ name: "control_pause", arguments: { queue: "celery" } });
  expect((await app.control.inspect().queues())[0]?.paused?.by).toBe("mcp");
});

test("an agent that asks for it is told how far a call for many is", async () => {
  const { app } = place();
  const writer = await agent(["--write"], app.config.brokerUrl);
  const ids = Array.from({ length: 120 }, (_, n) => `id-${n}`);
  const told: unknown[] = [];
  // The client's own drops what comes in one piece with the answer.
  writer.setNotificationHandler(ProgressNotificationSchema, ({ params: { progress, total } }) => {
    told.push({ progress, total });
  });
  const onprogress = () => {};
  const done = await writer.callTool({ name: "revoke", arguments: { ids } }, undefined, { onprogress });
  expect(done.content).toMatchObject([{ text: expect.stringContaining('"count":120') }]);
  expect(told).toEqual([
    { progress: 50, total: 120 },
    { progress: 100, total: 120 },
  ]);
});

test("what an agent says that cannot be read is told of, and ends the server only where nothing behind it can be", async () => {
  const { start } = place();
  const running = start(["mcp", "-A", module], {}, "pipe");
  const question = `${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" })}\n`;
  running.process.stdin?.write(`{no\n${question}`);
  await running.says(/^\{.*"id":1/m);
  expect(running.stderr()).toMatch(/^lovage: SyntaxError: .*\n$/);
  running.process.stdin?.on("error", () => {}).write("x".repeat(11_000_000));
  expect(await running.exited).toMatchObject({ code: 1, stderr: expect.stringMatching(/exceeded maximum size/) });
});

test("an agent is told that an answer is cut", async () => {
  const { app } = place();
  const time = Date.now();
  const entries = Array.from({ length: 400 }, (_, n) => ({
    time,
    kind: "task" as const,
    id: `${n}`,
    args: "x".repeat(300),
  }));
  await app.engine.note(...entries);
  const reader = await agent([], app.config.brokerUrl);
  const few = await reader.callTool({ name: "tasks", arguments: { limit: 10 } });
  expect(few.content).toHaveLength(1);
  const many = await reader.callTool({ name: "tasks", arguments: { limit: 1000 } });
  expect(many.content).toMatchObject([{}, { text: expect.stringMatching(/is cut: .* lower limit/) }]);
});

test("a call that an agent cancels ends, and what follows in its list is left alone", async () => {
  const { app } = place();
  const child = spawn(process.execPath, [launcher, "mcp", "-A", module, "--write"], {
    env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl },
    stdio: ["pipe", "pipe", "ignore"],
  });
  const say = (message: object) => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;
  const ids = Array.from({ length: 2_000 }, (_, n) => `id-${n}`);
  child.stdin.end(
    say({ id: 1, method: "tools/call", params: { name: "revoke", arguments: { ids } } }) +
      say({ method: "notifications/cancelled", params: { requestId: 1 } }),
  );
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, "exit")]);
  expect([printed, code]).toEqual(["", 0]);
  expect(await app.result("id-1999").state()).toBe("PENDING");
});

test.each(["that an agent cancels", "that is under way at a SIGTERM"])(
  "a question %s is not waited for",
  async (which) => {
    const { folder, app } = place();
    const endless = join(folder, "endless.ts");
    writeFileSync(
      endless,
      `import { app } from ${JSON.stringify(module)};
    app.engine.journal = async () => ({
      async *read() {
        console.error("It reads.");
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, 1e8);
          app.close = async () => clearTimeout(timer);
        });
      },
    });
    export { app };`,
    );
    const child = spawn(process.execPath, [launcher, "mcp", "-A", endless], {
      env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl },
      stdio: ["pipe", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const { says, stdout, exited } = follow(child);
    const say = (message: object) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
    say({ id: 1, method: "tools/call", params: { name: "workflow", arguments: { id: "an-id" } } });
    await says(/It reads\./);
    if (which === "that an agent cancels") {
      say({ method: "notifications/cancelled", params: { requestId: 1 } });
      child.stdin.end();
      expect(await exited).toMatchObject({ code: 0, stdout: "" });
    } else {
      child.kill("SIGTERM");
      expect((await exited).code).toBe(0);
      expect(JSON.parse(stdout())).toMatchObject({ id: 1, result: { isError: true } });
      expect(stdout()).toContain("SIGTERM ended it");
    }
  },
);

test("standard output has answers alone, whatever modules print, and all that was asked before the input ended", async () => {
  const { folder, app } = place();
  const loud = join(folder, "loud.ts");
  writeFileSync(
    loud,
    `process.stdout.write("raw\\n"); console.dir({}); console.log("log"); export { app } from ${JSON.stringify(module)};`,
  );
  const child = spawn(process.execPath, [launcher, "mcp", "-A", loud, "--write"], {
    env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl },
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ask = (id: number, name: string, given: object) =>
    `${JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name, arguments: given } })}\n`;
  child.stdin.end(ask(1, "control_pause", { queue: "celery" }) + ask(2, "queues", {}));
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, "exit")]);
  expect(code).toBe(0);
  const answers = printed
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).id);
  expect(answers.sort()).toEqual([1, 2]);
  expect((await app.control.inspect().queues())[0]?.paused?.by).toBe("mcp");
});
