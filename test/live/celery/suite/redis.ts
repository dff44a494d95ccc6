/** As much of a client of Redis as the suite's tasks need. */
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

export interface Redis {
  /** Resolves with the first line of the answer. */
  command(...words: readonly string[]): Promise<string>;
  close(): void;
}

export function connectRedis(port: number): Redis {
  const socket = createConnection({ port, host: "127.0.0.1" });
  const waiting: ((line: string) => void)[] = [];
  createInterface({ input: socket }).on("line", (line) => waiting.shift()?.(line));
  return {
    command: (...words) =>
      new Promise((resolve) => {
        waiting.push(resolve);
        const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
        socket.write(`*${words.length}\r\n${parts.join("")}`);
      }),
    close: () => socket.destroy(),
  };
}
