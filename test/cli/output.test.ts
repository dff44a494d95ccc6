import { expect, test, vi } from "vitest";
import { createLog, table, toJson, withProgress } from "../../src/cli/output.ts";

test("a wait shows how long it takes on a terminal, and leaves the line empty", async () => {
  const write = vi.fn<(text: string) => boolean>(() => true);
  const line = (seconds: number) => `Waiting: ${seconds} s`;
  expect(await withProgress(line, Promise.resolve(1), { isTTY: true, write })).toBe(1);
  const shown = write.mock.calls.map(([text]) => text).join("");
  expect(shown).toContain("Waiting: 0 s");
  expect(shown.endsWith("\r\u001b[K")).toBe(true);
});

test("a wait shows nothing in a pipe", async () => {
  const write = vi.fn<() => boolean>();
  await expect(withProgress(String, Promise.reject(new Error("x")), { isTTY: false, write })).rejects.toThrow("x");
  expect(write).not.toHaveBeenCalled();
});

test("a table has columns", () => {
  expect(
    table([
      ["queue", "ready"],
      ["a", 10],
      ["celery", 9],
    ]),
  ).toBe("queue   ready\na          10\ncelery      9");
});

test("a table is as wide as the terminal: what has no room stands below its row, and nothing but a long text is cut", () => {
  const rows = [
    ["when", "state", "id", "runtime", "error"],
    [
      "20:38:56 (4 min ago)",
      "FAILURE",
      "01a223aa-b678-7650-aa48-e29f47912c24",
      "1.00 s",
      `${"no route ".repeat(9)}end`,
    ],
    ["20:38:57 (4 min ago)", "SUCCESS", "01a223aa-b678-7650-aa48-e29f47912c25", "12.00 s", ""],
  ];
  expect(table(rows, 70)).toBe(
    [
      "when                  state    id",
      "20:38:56 (4 min ago)  FAILURE  01a223aa-b678-7650-aa48-e29f47912c24",
      "    runtime: 1.00 s",
      "    error: no route no route no route no route no route no route no r…",
      "20:38:57 (4 min ago)  SUCCESS  01a223aa-b678-7650-aa48-e29f47912c25",
      "    runtime: 12.00 s",
    ].join("\n"),
  );
  expect(table(rows, 120).split("\n")).toEqual(
    [
      "when                  state    id                                    runtime  error",
      "20:38:56 (4 min ago)  FAILURE  01a223aa-b678-7650-aa48-e29f47912c24   1.00 s  no route no route no route no rou…",
      "20:38:57 (4 min ago)  SUCCESS  01a223aa-b678-7650-aa48-e29f47912c25  12.00 s",
    ].map((line) => (line.length > 110 ? expect.stringContaining("1.00 s  no route") : line)),
  );
  for (let width = 1; width < 200; width++)
    expect(
      Math.max(
        ...table(rows, width)
          .split("\n")
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(width);
  expect(table(rows)).toContain("no route end");
});

test("JSON takes whole numbers of any size, and nothing for null", () => {
  expect(toJson({ n: 2n ** 64n })).toBe('{"n":"18446744073709551616"}');
  expect(toJson(undefined)).toBe("null");
});

test("nothing that is logged begins a line of its own, or tells a terminal what to do", () => {
  const write = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  try {
    createLog({ logFormat: "text", loglevel: "info", process: "Main" })("info", "a\n[forged]\r\u001b[2Jb\n    at c\td");
    expect(String(write.mock.calls[0]?.[0])).toMatch(/\] a\n {2}\[forged\]\\x0d\\x1b\[2Jb\n {4}at c\td\n$/);
  } finally {
    write.mockRestore();
  }
});

test("a line has local time and its level, and one below the least is left out", () => {
  const write = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  try {
    const log = createLog({ logFormat: "text", loglevel: "warning", process: "MainProcess" });
    log("info", "nothing");
    log("error", "two\nlines");
    const local = new Date().toLocaleDateString("sv");
    expect(write.mock.calls.map(([text]) => text)).toEqual([
      expect.stringMatching(
        new RegExp(`^\\[${local} \\d\\d:\\d\\d:\\d\\d,\\d{3}: ERROR/MainProcess\\] two\n  lines\n$`),
      ),
    ]);
  } finally {
    write.mockRestore();
  }
});
