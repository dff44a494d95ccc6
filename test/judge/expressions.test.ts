/** The grammars take what AWS's pages show, and refuse each kind of what they do not. */
import { expect, test } from "vitest";
import { faultOf, type Kind } from "./expressions.ts";

test.each<[Kind, string]>([
  ["condition", "attribute_not_exists(#id) OR #ttl <= :now"],
  ["condition", "attribute_exists(#a) AND (#b = :b OR NOT contains(#c, :c)) AND size(#d) < :d"],
  ["condition", "(#a IN (:b, :c)) and (#d between :e and :f)"],
  ["condition", "begins_with(#a.#b[3].#c, :x)"],
  ["condition", "NOT (#a = :a)"],
  ["update", "SET #a = :a, #b = if_not_exists(#b, :zero) + :one REMOVE #c, #d[1] ADD #e :e DELETE #f :f"],
  ["update", "SET #a = list_append(if_not_exists(#a, :none), :more)"],
  ["update", "set #a = #b - :c"],
  ["update", "set chord_count = chord_count + :num"],
  ["projection", "#a, #b.#c, #d[0]"],
  ["key", "#bucket = :bucket AND #at BETWEEN :from AND :to"],
  ["statement", `INSERT INTO "Music" VALUE {'Artist': ?, 'Tags': [?, 'b'], 'More': {'a': 1}, 'Set': <<'x'>>}`],
  [
    "statement",
    `UPDATE "Music" SET "Awards" = 1 SET "Detail" = {'a': [2020, 2018]} WHERE "Artist" = 'Acme ''Band''' AND "Song" = ?`,
  ],
  ["statement", `UPDATE "Music" REMOVE "a"[2] WHERE "Artist"=? RETURNING ALL OLD *`],
  [
    "statement",
    `UPDATE "t" SET "n" = "n" + 1 WHERE "id"=? AND "a" IS MISSING AND "b" IS NOT MISSING AND NOT contains("c", ?)`,
  ],
  ["statement", `DELETE FROM "Music" WHERE "Artist" = ?`],
  ["statement", `SELECT "a", "b" FROM "Music"."index" WHERE "a" IN [?, ?] OR size("b") > 2`],
])("%s: %s", (kind, text) => {
  expect(faultOf(kind, text)).toBeUndefined();
});

test.each<[Kind, text: string, said: RegExp]>([
  ["condition", "", /its end stands where an attribute/],
  ["condition", "#a", /its end stands where =/],
  ["condition", "#a == :b", /= stands where an attribute/],
  ["condition", "#a != :b", /nobody reads != :b/],
  ["condition", "status = :b", /status may be a reserved word/],
  ["condition", "attribute_missing(#a)", /attribute_missing stands where a function that there is/],
  ["condition", "ATTRIBUTE_EXISTS(#a)", /ATTRIBUTE_EXISTS stands where a function that there is/],
  ["condition", "attribute_exists(:a)", /:a stands where an attribute/],
  ["condition", "contains(#a)", /\) stands where ,/],
  ["condition", "#a = :a AND", /its end stands where an attribute/],
  ["condition", "((#a = :a))", /parentheses that change nothing/],
  ["condition", "(#a = :a", /its end stands where \)/],
  ["condition", "#a = :a; #b = :b", /nobody reads ;/],
  ["condition", "#a IS MISSING", /IS stands where =/],
  ["condition", `#a IN (${Array.from({ length: 101 }, () => ":a").join(", ")})`, /more than 100 operands/],
  ["condition", Array.from({ length: 160 }, () => "#a = :a").join(" AND "), /319 operators and functions, at most 300/],
  ["update", "SET #a = :a SET #b = :b", /SET stands twice/],
  ["update", "SET #a = :a, REMOVE #b", /REMOVE may be a reserved word/],
  ["update", "ADD #a #b", /#b stands where a value/],
  ["update", "SET #a = minimum(#b, :c)", /stands where if_not_exists/],
  ["update", "PUT #a = :a", /PUT stands where SET/],
  ["projection", "#a #b", /#b stands where the end/],
  ["projection", "#a[:b]", /:b stands where an index/],
  ["statement", `UPDATE Music SET "a" = 1 WHERE "id" = ?`, /Music stands where a table in quotes/],
  ["statement", `UPDATE "Music" SET status = 1 WHERE "id" = ?`, /status may be a reserved word/],
  ["statement", `UPDATE "Music" WHERE "id" = ?`, /WHERE stands where SET or REMOVE/],
  ["statement", `UPDATE "Music" SET "a" = 1, "b" = 2 WHERE "id" = ?`, /, stands where WHERE/],
  ["statement", `UPDATE "Music" SET "a" = ?`, /its end stands where WHERE/],
  ["statement", `INSERT INTO "Music" VALUES {'a': ?}`, /VALUES stands where VALUE/],
  ["statement", `INSERT INTO "Music" VALUE {"a": ?}`, /"a" stands where a name in single quotes/],
  ["statement", `UPDATE "t" SET "a" = if_not_exists("a", ?) WHERE "id" = ?`, /if_not_exists stands where size/],
  [
    "statement",
    `UPDATE "t" SET "a" = ? WHERE attribute_exists("id")`,
    /attribute_exists stands where a function that there is/,
  ],
  ["statement", `DROP TABLE "t"`, /DROP stands where SELECT/],
])("%s that there is not: %s", (kind, text, said) => {
  expect(faultOf(kind, text)).toMatch(said);
});
