/** Where a message goes: `taskRoutes`, the options of the call, and the bindings of `taskQueues`, made one queue. */
import { ImproperlyConfigured, QueueNotFound } from "../errors.ts";
import { matchGlob } from "../glob.ts";
import type { SerializerName } from "../protocol/serializers.ts";
import { checkQueueName } from "./queue-name.ts";

/** Where a task's messages go, and what they are like. Options of the call itself come first. */
export interface Route {
  /** The queue. Default: that of `exchange` and `routingKey`, else `taskDefaultQueue`. */
  readonly queue?: string | undefined;
  /** Together with `routingKey`, in place of `queue`: reaches the queue of `taskQueues` that is bound by both. */
  readonly exchange?: string | undefined;
  /** With `exchange`: the key by which the queue is found. One of the two alone names a queue only where no other one has it, and is else left aside, as in Celery. */
  readonly routingKey?: string | undefined;
  /** 0 to 255. */
  readonly priority?: number | undefined;
  /** How the message is written. Default: the setting `taskSerializer`. */
  readonly serializer?: SerializerName | undefined;
  /** How the message is compressed. Default: the setting `taskCompression`. */
  readonly compression?: string | undefined;
  /** Seconds from the call after which the task must not start any more. */
  readonly expires?: number | undefined;
  /** Whether the result is of no interest. Default: what the task says. */
  readonly ignoreResult?: boolean | undefined;
  /** FIFO queues: the group whose order is kept. */
  readonly MessageGroupId?: string | undefined;
  /** Standard queues: whose message it is, for SQS's fair queues. */
  readonly tenant?: string | undefined;
}

/** A route, or the name of a queue for short. */
export type RouteValue = Route | string;

/**
 * Decides by the call; `undefined` or `null` leaves it to the next router.
 *
 * @param task The task, where it is registered with the app that sends.
 */
export type RouterFunction = (
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: Readonly<Record<string, unknown>>,
  task?: unknown,
) => RouteValue | null | undefined;

/** A pattern and its route. A text with `*` is a glob (`*` crosses dots), any other text the task's name; a regular expression has to match at the start. */
export type RoutePair = readonly [pattern: string | RegExp, route: RouteValue];

/** Exact names are looked up first, then patterns in their order. */
export type TaskRouter = Readonly<Record<string, RouteValue>> | readonly RoutePair[] | RouterFunction;

/** The settings that routing follows, checked. */
export interface RoutingConfig {
  readonly taskQueues: Readonly<
    Record<string, { readonly name: string; readonly exchange: string; readonly routingKey: string }>
  >;
  readonly taskRoutes: readonly TaskRouter[];
  readonly taskDefaultQueue: string;
  readonly taskCreateMissingQueues: boolean;
  readonly brokerTransportOptions: { readonly queueNamePrefix: string };
}

/** The queue, and how the message names it. */
export interface Destination {
  readonly queue: string;
  /** Always `""`, the anonymous exchange: Python acknowledges and retries by the queue's name, however it was reached. */
  readonly exchange: string;
  /** The queue's name. */
  readonly routingKey: string;
}

/**
 * Routes one call: its options, over those of the route, with the destination filled in. An option that is `undefined`
 * or `null` does not override. Throws `ImproperlyConfigured` for an exchange and routing key that reach no queue, and
 * `QueueNotFound` for a queue that is not declared where `taskCreateMissingQueues` is off.
 */
export type Router = <O extends object>(
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: O,
  task?: unknown,
) => O & Destination;

/** The router of an app. */
export function createRouter(config: RoutingConfig): Router {
  const lookups = config.taskRoutes.map(lookup);
  const destination = createDestination(config);

  return (name, args, kwargs, options, task) => {
    // What a call can give that matters here; its check has been before.
    const given = options as typeof options & Route & Readonly<Record<string, unknown>>;
    let route: Route = {};
    for (const find of lookups) {
      const found = find(name, args, kwargs, given, task);
      if (found === undefined || found === null) continue;
      route = typeof found === "string" ? { queue: found } : found;
      break;
    }
    const merged = over(given, route);
    return { ...merged, ...destination(merged) };
  };
}

type Target = Pick<Route, "queue" | "exchange" | "routingKey">;

/**
 * A route, and another one for what it leaves open. A queue is a whole destination, and so are an exchange and a routing key;
 * either of the two alone may be completed.
 */
export function over<U extends Target, L extends Target>(upper: U, lower: L): L & U {
  const merged: Record<string, unknown> & Target = { ...lower };
  if (isGiven(upper.queue) || isBinding(upper))
    for (const name of ["queue", "exchange", "routingKey"]) delete merged[name];
  for (const [name, value] of Object.entries(upper)) merged[name] = value ?? merged[name];
  return merged as L & U;
}

const isGiven = <T>(value: T | null | undefined): value is T => value !== undefined && value !== null;
const isBinding = (route: Target): route is Target & { readonly exchange: string; readonly routingKey: string } =>
  isGiven(route.exchange) && isGiven(route.routingKey);

/** A router as a function. */
function lookup(router: TaskRouter): RouterFunction {
  if (typeof router === "function") return router;
  const exact = new Map<string, RouteValue>();
  const patterns: (readonly [matches: (name: string) => boolean, RouteValue])[] = [];
  const pairs: readonly RoutePair[] = Array.isArray(router) ? router : Object.entries(router);
  for (const [pattern, route] of pairs) {
    if (pattern instanceof RegExp) patterns.push([matchAtStart(pattern), route]);
    else if (pattern.includes("*")) patterns.push([matchGlob(pattern), route]);
    else exact.set(pattern, route);
  }
  return (name) => {
    const found = exact.get(name);
    if (found !== undefined) return found;
    return patterns.find(([matches]) => matches(name))?.[1];
  };
}

/** As Python's `re.match`. How long an expression of the user's takes is the user's matter; a foreign name is short by then. */
function matchAtStart(pattern: RegExp): (name: string) => boolean {
  const sticky = new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, "")}y`);
  return (name) => {
    sticky.lastIndex = 0;
    return sticky.test(name);
  };
}

/** Makes one queue of queue, exchange and routing key. */
function createDestination(config: RoutingConfig): (given: Route) => Destination {
  const { taskQueues, taskDefaultQueue, taskCreateMissingQueues } = config;
  const prefix = config.brokerTransportOptions.queueNamePrefix;
  const known = new Map<string, Destination>();
  const declared = Object.values(taskQueues);
  for (const { name } of declared) known.set(name, anonymous(name));

  const toQueue = (queue: string): Destination => {
    const found = known.get(queue);
    if (found !== undefined) return found;
    if (!taskCreateMissingQueues) throw new QueueNotFound(queue, Object.keys(taskQueues));
    checkQueueName("queue", prefix, queue, false);
    return anonymous(queue);
  };

  const toBound = (exchange: string, routingKey: string): Destination => {
    if (exchange === "") return toQueue(routingKey);
    // What is bound to the anonymous exchange here, Celery binds to one with the name of the default queue.
    const bound = declared.find(
      (queue) => (queue.exchange || taskDefaultQueue) === exchange && queue.routingKey === routingKey,
    );
    if (bound !== undefined) return toQueue(bound.name);
    const bindings = declared.map(
      (queue) =>
        `${queue.name} by exchange ${JSON.stringify(queue.exchange)}, routing key ${JSON.stringify(queue.routingKey)}`,
    );
    throw new ImproperlyConfigured(
      "exchange",
      `exchange ${JSON.stringify(exchange)} and routing key ${JSON.stringify(routingKey)} reach no queue (bound in taskQueues: ${bindings.join("; ")})`,
    );
  };

  return (given) => {
    const { queue, exchange, routingKey } = given;
    if (isBinding(given)) {
      const bound = toBound(given.exchange, given.routingKey);
      if ((queue ?? bound.queue) === bound.queue) return bound;
      throw new ImproperlyConfigured(
        "queue",
        `exchange ${JSON.stringify(exchange)} and routing key ${JSON.stringify(routingKey)} reach the queue ${JSON.stringify(bound.queue)}, not ${JSON.stringify(queue)}; give one or the other`,
      );
    }
    if (isGiven(queue)) return toQueue(queue);
    // Nearly always: there is nothing to look for.
    if (!isGiven(exchange) && !isGiven(routingKey)) return toQueue(taskDefaultQueue);
    // As in Celery, only both together name a binding: one of them alone changes nothing, unless a single queue has it.
    const [only, another] = declared.filter(
      (queue) => (exchange && queue.exchange === exchange) || queue.routingKey === routingKey,
    );
    return toQueue(only === undefined || another !== undefined ? taskDefaultQueue : only.name);
  };
}

const anonymous = (queue: string): Destination => Object.freeze({ queue, exchange: "", routingKey: queue });
