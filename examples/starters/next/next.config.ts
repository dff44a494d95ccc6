import type { NextConfig } from "next";

const config: NextConfig = {
  // Loaded by Node as it is installed, as database drivers are.
  serverExternalPackages: ["lovage"],
  // This folder is the project, also where a folder above it has a lock file.
  turbopack: { root: import.meta.dirname },
  outputFileTracingRoot: import.meta.dirname,
};

export default config;
