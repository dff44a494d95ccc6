/** Takes the place of `@aws-sdk/client-scheduler` in a function's bundle: what `brokers/sqs-scheduler.ts` uses of it. */
import { clientOf, command } from "./client.ts";

export const SchedulerClient = clientOf({
  name: "SCHEDULER",
  service: "scheduler",
  contentType: "application/json",
  // By the token a try whose predecessor's reply was lost is told from another entry of the same name.
  stringify: (input) => JSON.stringify({ ClientToken: crypto.randomUUID(), ...(input as object), Name: undefined }),
});

export const CreateScheduleCommand = command(
  "CreateSchedule",
  ({ Name }: { readonly Name?: string }) => `/schedules/${encodeURIComponent(String(Name))}`,
);
