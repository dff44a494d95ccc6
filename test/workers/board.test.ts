import { expect, test } from "vitest";
import { boardMemory, boardReader, boardWriter } from "../../src/workers/board.ts";

const ALWAYS = Number.POSITIVE_INFINITY;

function makeBoard(places: number) {
  const memory = boardMemory(places);
  return { writer: boardWriter(memory), reader: boardReader(memory) };
}

test("what is put up is read as it is, what was put over it and what was taken down is gone", () => {
  const { writer, reader } = makeBoard(3);
  expect(writer.put(7, "first", ALWAYS)).toBe(true);
  expect(writer.put(8, "zweiter ✓", ALWAYS)).toBe(true);
  expect(writer.put(7, "again", ALWAYS)).toBe(true);
  expect(reader.read(ALWAYS).sort()).toEqual(["again", "zweiter ✓"]);
  expect(writer.remove(7)).toBe(true);
  expect(writer.remove(7)).toBe(false);
  expect(reader.read(ALWAYS)).toEqual(["zweiter ✓"]);
});

test("a full board takes no more, until something is taken down", () => {
  const { writer, reader } = makeBoard(2);
  expect([1, 2, 3].map((id) => writer.put(id, `${id}`, ALWAYS))).toEqual([true, true, false]);
  writer.remove(1);
  expect(writer.put(3, "3", ALWAYS)).toBe(true);
  expect(reader.read(ALWAYS).sort()).toEqual(["2", "3"]);
});

test("a text of more than 2 KiB is not taken, and nothing stays up under its id", () => {
  const { writer, reader } = makeBoard(2);
  expect(writer.put(1, "x".repeat(2048), ALWAYS)).toBe(true);
  expect(writer.put(2, "é".repeat(1024), ALWAYS)).toBe(true);
  expect(writer.put(1, "x".repeat(2049), ALWAYS)).toBe(false);
  expect(reader.read(ALWAYS)).toEqual(["é".repeat(1024)]);
});

test("only what is due is read", () => {
  const { writer, reader } = makeBoard(3);
  writer.put(1, "early", 1000);
  writer.put(2, "late", 2000);
  writer.put(3, "never", ALWAYS);
  expect(reader.read(999)).toEqual([]);
  expect(reader.read(1000)).toEqual(["early"]);
  expect(reader.read(ALWAYS)).toEqual(["early", "late", "never"]);
});
