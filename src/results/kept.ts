/** The message of a task that failed, as its row keeps it: to be sent again as it was (`Row.kept`). */
export interface KeptMessage {
  readonly queue: string;
  readonly body: string;
  readonly groupId?: string | undefined;
}

export const writeKept = ({ queue, body, groupId }: KeptMessage): string => JSON.stringify({ queue, body, groupId });

/** Written by {@link writeKept}, and by nobody else. */
export const readKept = (kept: string): KeptMessage => JSON.parse(kept);
