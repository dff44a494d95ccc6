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
