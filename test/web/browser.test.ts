/** A chat in a browser: what a task writes is shown as it comes, and goes on where a connection broke. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lovage } from "lovage";
import { resultEvents } from "lovage/web";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test } from "vitest";
import { browser, serveBoard, visit } from "../board/chromium.ts";

const started = await browser();
const words = ["the ", "quick ", "brown ", "fox ", "jumps ", "<b>over</b> ", "the ", "lazy ", "dög 🐶"];

const PAGE = `<!doctype html><html lang="en"><title>Chat</title><link rel="icon" href="data:,"><main><p id="said"></p><p id="state">talks</p></main><script>
  const source = new EventSource("/events");
  const told = (id, text) => { document.getElementById(id).textContent = text; };
  let said = "";
  source.addEventListener("chunk", ({ data }) => told("said", (said += JSON.parse(data))));
  source.addEventListener("restart", () => told("said", (said = "")));
  source.addEventListener("result", ({ data }) => { source.close(); told("state", "said " + JSON.parse(data)); });
  source.addEventListener("failure", ({ data }) => { source.close(); told("state", data); });
</script></html>`;

describe.skipIf(!started)("in a browser", () => {
  test("words appear while the task runs, each once, though the connection breaks in the middle", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lovage-chat-"));
    const app = new Lovage("chat", { brokerUrl: `sqlite:///${join(folder, "lovage.db")}` });
    // The task says the words up to a number, when it is told that.
    const upTo = [3, 6, words.length].map((number) => ({ number, go: Promise.withResolvers<void>() }));
    const say = app.task("chat.say", { bind: true }, async (self) => {
      let at = 0;
      for (const { number, go } of upTo) {
        await go.promise;
        while (at < number) await self.write(words[at++]);
      }
      return `${at} words`;
    });
    const worker = await startWorker(app, { concurrency: 1 });
    const { id } = await say.delay();

    const asked: (string | null)[] = [];
    const cut = Promise.withResolvers<void>();
    const served = await serveBoard((request) => {
      if (new URL(request.url).pathname !== "/events")
        return new Response(PAGE, { headers: { "content-type": "text/html; charset=utf-8" } });
      asked.push(request.headers.get("last-event-id"));
      const answer = resultEvents(request, app.result(id));
      return asked.length === 1 ? broken(answer, cut.promise) : answer;
    });
    onTestFinished(async () => {
      await served.close();
      await worker.stop();
      await app.close();
      rmSync(folder, { recursive: true, force: true });
    });

    const page = await visit(started, served.url, { allowed: /ERR_INCOMPLETE_CHUNKED_ENCODING/ });
    const shows = (text: string, where = "#said") => expect.poll(() => page.textContent(where)).toBe(text);
    const [first, second, third] = upTo;
    first?.go.resolve();
    await shows(words.slice(0, 3).join(""));
    expect(await page.textContent("#state")).toBe("talks");
    cut.resolve();
    // Nobody listens for a moment.
    second?.go.resolve();
    await shows(words.slice(0, 6).join(""));
    third?.go.resolve();
    await shows(words.join(""));
    await shows("said 9 words", "#state");
    expect(asked).toEqual([null, expect.stringMatching(/^[\w-]+:3$/)]);
  });
});

/** An answer whose connection breaks when it is told to. A browser comes back at once: it need not wait for its own three seconds. */
function broken(answer: Response, when: Promise<void>): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  void (async () => {
    await writer.write(new TextEncoder().encode("retry: 100\n\n"));
    for (;;) {
      const next = await Promise.race([reader.read(), when]);
      if (next === undefined || next.done) break;
      await writer.write(next.value);
    }
    await reader.cancel();
    await writer.close();
  })();
  return new Response(readable, { headers: answer.headers });
}
