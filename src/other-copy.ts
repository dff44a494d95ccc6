/** Why nothing can be done with what another installation of the package in the same process has made, as two versions of a peer bring about. */
export const OTHER_COPY =
  "was made by another copy of lovage than what it is given to; `npm ls lovage` or `pnpm why lovage` shows who brings them: install one version, with the same peers (aws-cdk-lib, constructs) in all workspaces";
