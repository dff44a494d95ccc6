/** Sends the members of a group as a generator gives them: a bounded number is under way, and none is kept. */
import { GroupInterrupted } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import { GroupResult } from "../results/group-result.ts";
import type { CallOptions } from "../tasks/options.ts";
import { LEAF_SIZE, signatures } from "./shape.ts";
import type { Applied, Members, OpenStream, SignatureApplier } from "./signature.ts";
import { signatureData } from "./wire-options.ts";

/** Batches of {@link LEAF_SIZE} members that may be under way at a time. */
const UNDER_WAY = 4;

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
  const under = new Set<Promise<void>>();
  let stream: OpenStream | undefined = app?.openStream(signature, args, options);
  let failure: { readonly error: unknown } | undefined;
  let batch: SignatureData[] = [];
  let sent = 0;

  async function flush(): Promise<void> {
    const full = batch;
    batch = [];
    const sending: Promise<void> = (stream as OpenStream)
      .send(full)
      .then(() => {
        sent += full.length;
      })
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => under.delete(sending));
    under.add(sending);
    if (under.size >= UNDER_WAY) await Promise.race(under);
    if (failure !== undefined) throw failure.error;
  }

  try {
    for await (const member of members) {
      stream ??= member.app?.openStream(signature, args, options);
      batch.push(...signatures(signatureData(member)));
      if (batch.length >= LEAF_SIZE && stream !== undefined) await flush();
    }
    if (batch.length > 0) await flush();
    await Promise.all(under);
    if (failure !== undefined) throw failure.error;
  } catch (error) {
    await Promise.all(under);
    throw new GroupInterrupted(stream?.groupId ?? "", sent, error);
  }
  return stream === undefined ? GroupResult.empty() : stream.end();
}
