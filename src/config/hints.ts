/** What is said of names that people look for within a setting, and that are none here. */
import type { Hints } from "../parse.ts";

export const QUEUE_HINTS: Hints = {
  exchangeType: 'only exchanges of the type "direct" exist; SQS has neither topics nor bindings by pattern',
  bindingKey: "write routingKey",
  queueArguments:
    "they are RabbitMQ's; give priorities as the queue's priorities, and a message's lifetime as the call's expires",
  durable: "queues are always durable",
  autoDelete: "queues are never deleted by a worker",
};

export const ROUTE_HINTS: Hints = {
  deliveryMode: "messages are always persistent",
  timeLimit: "give it to the queue (taskQueues) or the task",
};

export const BROKER_HINTS: Hints = {
  pollingInterval: "the poller asks again as soon as a request has ended; waitTimeSeconds is what to set",
  sqsBase64Encoding: "messages are read in either form and written as JSON, which every kombu since 5.1 reads",
  bodyEncoding: "messages are read in either form; base64 is written where compression needs it",
  isSecure: "give http:// or https:// in AWS_ENDPOINT_URL",
  sqsCreationAttributes: "queues are made by the AWS construct, not by workers; set attributes there",
  queueTags: "queues are made by the AWS construct, not by workers; set tags there",
  clientConfig:
    "the AWS SDK reads its own configuration from the environment (AWS_MAX_ATTEMPTS, AWS_RETRY_MODE …); connections and proxies are those of requestHandler",
  fetchMessageAttributes: "all attributes that are needed are fetched",
  stsRoleArn: "the AWS SDK assumes the role of its profile or of AWS_ROLE_ARN; set one of these",
  supportsFanout: "there is no fanout; send to each queue",
  predefinedExchanges: "there is no fanout; send to each queue",
  deadletterQueue: "each queue has its own, named <queue>-dlq",
  globalKeyprefix: "it is Redis's; set queueNamePrefix",
};

const ONE_ACCOUNT = "all queues are used with the same credentials; give them the rights in IAM";
const BACKOFF_OF_TASKS = "set how long a retry waits at the task (retryBackoff)";

export const PREDEFINED_QUEUE_HINTS: Hints = {
  accessKeyId: ONE_ACCOUNT,
  secretAccessKey: ONE_ACCOUNT,
  sessionToken: ONE_ACCOUNT,
  region: "all queues are in the region of brokerUrl",
  backoffPolicy: BACKOFF_OF_TASKS,
  backoffTasks: BACKOFF_OF_TASKS,
};

export const KEYPREFIX_HINTS: Hints = {
  resultChordOrdered: "results of a chord always come in the order of its header",
  retryPolicy: "the AWS SDK tries again by itself (AWS_MAX_ATTEMPTS)",
};
