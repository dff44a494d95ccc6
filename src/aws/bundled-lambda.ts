/** Lambda, as far as an operator asks it. The SDK's client of it would be one more dependency, for requests as few as these. */
import { clientOf, command } from "./client.ts";

export const LambdaClient = clientOf({
  name: "LAMBDA",
  service: "lambda",
  contentType: "application/json",
  // The mapping is named by the path.
  stringify: (input) => JSON.stringify({ ...(input as object), UUID: undefined }),
});

const MAPPINGS = "/2015-03-31/event-source-mappings";

export const ListEventSourceMappingsCommand = command(
  "ListEventSourceMappings",
  ({ Marker }: { readonly Marker?: string }) =>
    Marker ? `${MAPPINGS}?Marker=${encodeURIComponent(Marker)}` : MAPPINGS,
  "GET",
);
export const UpdateEventSourceMappingCommand = command(
  "UpdateEventSourceMapping",
  ({ UUID }: { readonly UUID?: string }) => `${MAPPINGS}/${encodeURIComponent(String(UUID))}`,
  "PUT",
);
