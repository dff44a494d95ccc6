/** Packages that NestJS asks for and does without: a function's bundle leaves them out. */
export const optional: readonly string[] = [
  "@nestjs/microservices",
  "@nestjs/websockets",
  "class-transformer",
  "class-validator",
];
