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
  /** With `exchange`: the key by which the queue is found. */
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
  readonly taskDefaultExchange: string;
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
 * or `null` does not override. Queue, exchange and routing key are one: a call that gives any of them leaves those of
 * the route aside. Throws `ImproperlyConfigured` for an exchange and routing key that reach no queue, and
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
    const given = options as Route & Readonly<Record<string, unknown>>;
    let route: Route = {};
    for (const find of lookups) {
      const found = find(name, args, kwargs, given, task);
      if (found === undefined || found === null) continue;
      route = typeof found === "string" ? { queue: found } : found;
      break;
    }
    const { queue, exchange, routingKey, ...rest } = route;
    const added: Record<string, unknown> = {};
    for (const option of Object.keys(rest))
      if ((given[option] ?? undefined) === undefined) added[option] = rest[option as keyof typeof rest];
    const target = given.queue ?? given.exchange ?? given.routingKey;
    return {
      ...options,
      ...added,
      ...destination(target === undefined || target === null ? { queue, exchange, routingKey } : given),
    };
  };
}

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
  const { taskQueues, taskDefaultQueue, taskCreateMissingQueues, taskDefaultExchange } = config;
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

  const toBound = (exchange: string | undefined, routingKey: string | undefined): Destination => {
    if (exchange === "" && routingKey !== undefined) return toQueue(routingKey);
    const bound = declared.filter(
      (queue) =>
        (exchange === undefined || queue.exchange === exchange) &&
        (routingKey === undefined || queue.routingKey === routingKey),
    );
    // A routing key alone is meant for the default exchange, should several exchanges have it.
    const meant =
      bound.length > 1 && exchange === undefined
        ? bound.filter((queue) => queue.exchange === taskDefaultExchange)
        : bound;
    const [only] = meant;
    if (only !== undefined && meant.length === 1) return toQueue(only.name);
    const bindings = declared.map(
      (queue) =>
        `${queue.name} by exchange ${JSON.stringify(queue.exchange)}, routing key ${JSON.stringify(queue.routingKey)}`,
    );
    const asked = [
      exchange === undefined ? [] : `exchange ${JSON.stringify(exchange)}`,
      routingKey === undefined ? [] : `routing key ${JSON.stringify(routingKey)}`,
    ].flat();
    throw new ImproperlyConfigured(
      exchange === undefined ? "routingKey" : "exchange",
      `${asked.join(" and ")} ${asked.length === 1 ? "reaches" : "reach"} ${bound.length === 0 ? "no queue" : "several queues; give both, or queue"} (bound in taskQueues: ${bindings.join("; ")})`,
    );
  };

  return (given) => {
    const [queue, exchange, routingKey] = [
      given.queue ?? undefined,
      given.exchange ?? undefined,
      given.routingKey ?? undefined,
    ];
    // As in Celery, only both together name a binding; beside a queue, one of them alone changes nothing.
    if (exchange !== undefined && routingKey !== undefined) {
      const bound = toBound(exchange, routingKey);
      if (queue === undefined || queue === bound.queue) return bound;
      throw new ImproperlyConfigured(
        "queue",
        `exchange ${JSON.stringify(exchange)} and routing key ${JSON.stringify(routingKey)} reach the queue ${JSON.stringify(bound.queue)}, not ${JSON.stringify(queue)}; give one or the other`,
      );
    }
    if (queue !== undefined) return toQueue(queue);
    if (exchange === undefined && routingKey === undefined) return toQueue(taskDefaultQueue);
    return toBound(exchange, routingKey);
  };
}

const anonymous = (queue: string): Destination => Object.freeze({ queue, exchange: "", routingKey: queue });
