/** Messages as a producer elsewhere writes them: Celery's protocol 2 in kombu's envelope. */

interface Foreign {
  readonly task: string;
  readonly id: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly embed?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly contentType?: string;
  /** In place of the JSON of the three parts. */
  readonly body?: string;
}

export function envelope({
  task,
  id,
  args = [],
  kwargs = {},
  embed = {},
  headers = {},
  contentType,
  body,
}: Foreign): string {
  return JSON.stringify({
    body:
      body ?? JSON.stringify([args, kwargs, { callbacks: null, errbacks: null, chain: null, chord: null, ...embed }]),
    "content-encoding": "utf-8",
    "content-type": contentType ?? "application/json",
    headers: { lang: "py", task, id, root_id: id, parent_id: null, ...headers },
    properties: { correlation_id: id, delivery_info: { exchange: "", routing_key: "celery" } },
  });
}

export const signature = (task: string, args: readonly unknown[], options: object = {}, immutable = false) => ({
  task,
  args,
  kwargs: {},
  options,
  subtask_type: null,
  immutable,
});
