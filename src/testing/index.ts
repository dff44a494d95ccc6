/** For tests of your own tasks, and for ours: an app in one process, on a clock that is moved by hand. */
export { virtualClock, type VirtualClock } from "./clock.ts";
export { type Faults, hostileBroker } from "./hostile-broker.ts";
export { type EndedRun, type LogLine, testApp, type TestApp, type TestOptions } from "./test-app.ts";
