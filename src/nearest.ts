/**
 * The candidate that a mistyped name most likely means, or `undefined` where none is near: at most a third of the
 * name's letters (but two are always allowed) would have to change. Upper and lower case count as the same letter,
 * and decide only between candidates that are equally near. The first of equals wins.
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    // The half keeps a difference in case below any difference in letters.
    const distance =
      editDistance(name.toLowerCase(), candidate.toLowerCase()) +
      (candidate === name ? 0 : caseDifference(name, candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `; did you mean "taskRoutes"?`, or an empty text where no candidate is near: the end of an error's message. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const found = nearest(name, candidates);
  return found === undefined ? "" : `; did you mean ${JSON.stringify(found)}?`;
}

/** Levenshtein's distance, one row of the table at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** 0 to 0.5: how many of the letters that stand at the same place differ in case alone. */
function caseDifference(a: string, b: string): number {
  const length = Math.max(a.length, b.length);
  let differing = 0;
  for (let i = 0; i < length; i++) if (a[i] !== b[i] && a[i]?.toLowerCase() === b[i]?.toLowerCase()) differing++;
  return length === 0 ? 0 : (0.5 * differing) / length;
}
