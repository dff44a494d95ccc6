/** What every client is given. */
export interface Batch {
  readonly QueueUrl: string;
  readonly Entries: { readonly Id: string; readonly MessageBody: string }[];
}

/** In milliseconds, as `lovage` has them. */
export const TIMEOUTS = { connectionTimeout: 1000, requestTimeout: 5000 };
