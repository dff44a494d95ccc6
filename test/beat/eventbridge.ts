/**
 * EventBridge's cron expressions, read from their text as its user guide describes them: six fields (minutes, hours, day of month, month,
 * day of week from 1 = Sunday, year), `,` `-` `*` `/`, and a `?` in exactly one of the day fields.
 */
export function firesAt(expression: string): (instant: number) => boolean {
  if (expression.length > 256) throw new Error(`${expression.length} characters are more than the 256 allowed`);
  const fields = /^cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)$/.exec(expression)?.slice(1);
  if (fields === undefined) throw new Error(`${expression} is no cron expression`);
  const [minutes, hours, dayOfMonth, month, dayOfWeek, year] = fields as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  if ((dayOfMonth === "?") === (dayOfWeek === "?"))
    throw new Error(`${expression}: one of the day fields must be ?, and not both`);
  const inMinutes = member(minutes, 0, 59);
  const inHours = member(hours, 0, 23);
  const inDays = dayOfMonth === "?" ? () => true : member(dayOfMonth, 1, 31);
  const inMonths = member(month, 1, 12);
  const inWeekdays = dayOfWeek === "?" ? () => true : member(dayOfWeek, 1, 7);
  const inYears = member(year, 1970, 2199);
  return (instant) => {
    const date = new Date(instant);
    return (
      inMinutes(date.getUTCMinutes()) &&
      inHours(date.getUTCHours()) &&
      inDays(date.getUTCDate()) &&
      inMonths(date.getUTCMonth() + 1) &&
      inWeekdays(date.getUTCDay() + 1) &&
      inYears(date.getUTCFullYear())
    );
  };
}

function member(text: string, min: number, max: number): (value: number) => boolean {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(?:(\*)|(\d+)(?:-(\d+))?)(?:\/(\d+))?$/.exec(part);
    if (match === null) throw new Error(`${part} is no part of a cron field`);
    const [, star, from, to, step] = match;
    const first = star ? min : Number(from);
    const last = star || (step && !to) ? max : Number(to ?? from);
    if (first < min || last > max || first > last || step === "0")
      throw new Error(`${part} is not within ${min} to ${max}`);
    for (let value = first; value <= last; value += Number(step ?? 1)) values.add(value);
  }
  return (value) => values.has(value);
}
