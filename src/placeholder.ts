/** Values that the AWS CDK knows only when it deploys, which an app that is made in a stack may be given. */

/** What is said of such a value. */
export const NOT_KNOWN_AT_SYNTH =
  "must be known at synth, and is a value of the deployment (a CfnParameter, an attribute of a resource, the name of a nested stack): give the value itself, such as one of the CDK's context";

/** What the CDK puts in the place of such a text, number or object, as a message has it that shows what was given. */
export const PLACEHOLDER = /[$#]\{Token\[|-1\.88815\d*e\+289|<unresolved-/;

/** Says it in the place of a message that shows a placeholder, and keeps whose the value is: `task shop.add: must be …`. */
export const notKnownAtSynth = (message: string): string =>
  (/^[^:]*: (?=must )/.exec(message)?.[0] ?? "") + NOT_KNOWN_AT_SYNTH;
