/** Sends the members of a group as a generator gives them: a bounded number is under way, and none is kept. */
import { GroupInterrupted } from "../errors.ts";
import { GroupResult } from "../results/group-result.ts";
import type { CallOptions } from "../tasks/options.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { Step } from "./fit.ts";
import { pour } from "./pour.ts";
import { formOf, membersOf, signatures } from "./shape.ts";
import { appOf, type Members, unknownApp } from "./pending.ts";
import type { Applied, OpenStream, SignatureApplier } from "./signature.ts";
import { signatureData } from "./wire-options.ts";

/**
 * Sends a group, or a chord (`signature` has its body), of members that are still to come. Throws `GroupInterrupted` where
 * the generator throws or a send fails.
 */
export async function sendStream(
  members: Members,
  app: SignatureApplier | undefined,
  signature: SignatureData,
  args: readonly unknown[],
  options: CallOptions,
): Promise<Applied> {
  let stream: OpenStream | undefined = app?.openStream(signature, args, options);
  let sent = 0;

  async function send(batch: readonly Step[]): Promise<void> {
    const all = signatures(batch.map(signatureData));
    stream ??= appOf(batch)?.openStream(signature, args, options);
    if (stream === undefined && membersOf(all).length > 0) throw unknownApp(signature);
    await stream?.send(all);
    sent += all.length;
  }

  try {
    await pour(members, send);
  } catch (error) {
    throw new GroupInterrupted(stream?.groupId ?? "", sent, error);
  }
  if (stream !== undefined) return stream.end();
  if (formOf(signature) === "chord") throw unknownApp(signature);
  return GroupResult.empty();
}
