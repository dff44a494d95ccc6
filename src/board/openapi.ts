/** The API in words that other programs read: OpenAPI 3.1, made of the table of operations. */
import { type Field, fieldSchema, type Fields, schemaOf } from "./input.ts";
import { OPERATIONS, type Operation } from "./operations.ts";

export interface Described {
  readonly app: string;
  readonly version: string;
  /** Where the API is, such as `/board/api`. */
  readonly url: string;
  readonly readOnly: boolean;
}

export const inPath = (path: string): readonly string[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);

/** Of a piece of work that goes on in the background. */
export const WORK_PATH = "/operations/{id}";

const answers = (is: string) => ({
  "200": { description: is, content: { "application/json": { schema: {} } } },
  default: { $ref: "#/components/responses/Error" },
});

const parameter = (name: string, field: Field, place: "path" | "query") => ({
  name,
  in: place,
  required: place === "path" || field.required === true,
  schema: fieldSchema(field),
});

function describe({ name, path, changes, is, input, long }: Operation) {
  const own = inPath(path);
  const fields: [string, Field][] = Object.entries(input);
  const rest: Fields = Object.fromEntries(fields.filter(([key]) => !own.includes(key)));
  const background: Field = {
    type: "boolean",
    is: "Answer 202 at once, with the id under which /operations says how far it is. Default: false",
  };
  return {
    operationId: name,
    summary: is,
    parameters: fields.flatMap(([key, field]) =>
      own.includes(key) ? [parameter(key, field, "path")] : changes ? [] : [parameter(key, field, "query")],
    ),
    ...(changes && {
      requestBody: {
        required: Object.values(rest).some(({ required }) => required),
        content: { "application/json": { schema: schemaOf(long ? { ...rest, background } : rest) } },
      },
    }),
    responses: {
      ...answers(is),
      ...(long && {
        "202": {
          description: "It goes on in the background.",
          content: { "application/json": { schema: { $ref: "#/components/schemas/Work" } } },
        },
      }),
    },
  };
}

export function openApi({ app, version, url, readOnly }: Described) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS) {
    if (operation.changes && readOnly) continue;
    paths[operation.path] = { ...paths[operation.path], [operation.changes ? "post" : "get"]: describe(operation) };
  }
  const id: Field = { type: "text", is: "The id of the work" };
  if (!readOnly) {
    paths[WORK_PATH] = {
      get: {
        operationId: "operation",
        summary: "How far work is that goes on in the background.",
        parameters: [parameter("id", id, "path")],
        responses: answers("How far it is, and in the end its result."),
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: `The board of ${app}`,
      version,
      description:
        "What the pages show and do, in the words of the lovage command. State changes are POST with a body of JSON; an error is { error: { name, message } }.",
    },
    servers: [{ url }],
    paths,
    components: {
      responses: {
        Error: {
          description: "What is wrong, and what mends it.",
          content: {
            "application/json": {
              schema: {
                type: "object",
                properties: {
                  error: {
                    type: "object",
                    properties: { name: { type: "string" }, message: { type: "string" } },
                    required: ["name", "message"],
                  },
                },
                required: ["error"],
              },
            },
          },
        },
      },
      schemas: {
        Work: {
          type: "object",
          properties: {
            id: { type: "string" },
            operation: { type: "string" },
            state: { enum: ["running", "done", "failed"] },
            done: { type: "integer" },
            total: { type: "integer" },
            result: {},
            error: { type: "string" },
          },
          required: ["id", "operation", "state", "done"],
        },
      },
    },
  };
}
