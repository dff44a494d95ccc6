/** A task that computes. */
import { createHash } from "node:crypto";
import { Lovage } from "lovage";

export const app = new Lovage("compute");

app.task("compute.hash", (rounds: number) => {
  let text = "";
  for (let round = 0; round < rounds; round++) text = createHash("sha256").update(text).digest("hex");
  return text;
});
