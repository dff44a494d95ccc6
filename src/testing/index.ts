/** For tests of your own tasks, and for ours: an app in one process, on a clock that is moved by hand. */
export {} from "../oldest-node.ts";
export { virtualClock, type VirtualClock } from "./clock.ts";
export { type Faults, hostileBroker } from "./hostile-broker.ts";
export { type EndedRun, type LogLine, testApp, type TestApp, type TestOptions } from "./test-app.ts";
export { backendContract, type ContractBackend } from "./backend-contract.ts";
export { type ContractJournal, journalContract } from "./journal-contract.ts";
export { brokerContract, CONTRACT_QUEUES, type ContractBroker, type ContractFeatures } from "./broker-contract.ts";
export type { ContractRunner } from "./contract-runner.ts";
