/** STS, as far as an operator asks it: who calls. */
import { clientOf, command } from "./client.ts";

export const STSClient = clientOf({
  name: "STS",
  service: "sts",
  contentType: "application/x-www-form-urlencoded",
  stringify: () => "Action=GetCallerIdentity&Version=2011-06-15",
  // STS speaks XML, of which three texts are of use here.
  parse: (text) => ({ Arn: element(text, "Arn"), code: element(text, "Code"), message: element(text, "Message") }),
});

const element = (xml: string, name: string): string | undefined => new RegExp(`<${name}>([^<]*)</`).exec(xml)?.[1];

export const GetCallerIdentityCommand = command("GetCallerIdentity");
