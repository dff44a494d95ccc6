/** A certificate for this machine, as all of AWS's endpoints have one: what TLS costs a process is part of its start. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE, PeerMissing } from "./cache.ts";

const FOLDER = join(CACHE, "tls");

export interface Certificate {
  readonly key: Buffer;
  readonly cert: Buffer;
  /** For `NODE_EXTRA_CA_CERTS`. */
  readonly file: string;
}

/** Made once, by openssl. Throws {@link PeerMissing}. */
export function certificate(): Certificate {
  const [key, cert] = [join(FOLDER, "key.pem"), join(FOLDER, "cert.pem")] as const;
  if (!existsSync(cert)) {
    mkdirSync(FOLDER, { recursive: true });
    const args = [
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "3650",
      "-subj",
      "/CN=bench",
    ];
    try {
      execFileSync(
        "openssl",
        ["req", "-x509", ...args, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        {
          stdio: "ignore",
        },
      );
    } catch (cause) {
      throw new PeerMissing("a certificate is made by openssl (Debian: apt-get install openssl)", { cause });
    }
  }
  return { key: readFileSync(key), cert: readFileSync(cert), file: cert };
}
