/** What of Celery's suite does not pass with Lovage's worker, and why. */
export interface Outcome {
  readonly test: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly said: string;
}

/** A reason, and the names of the tests that it keeps from passing; those in which a name is a part are meant too. */
interface Reason {
  readonly why: string;
  /** Celery's own worker fails them as well, on SQS and DynamoDB. */
  readonly celeryToo?: true;
  /** Whether one passes is a matter of how quick the machine is. */
  readonly either?: true;
  readonly tests: readonly string[];
}

const REASONS: readonly Reason[] = [
  {
    why: "a task id that is sent again runs once (docs/why/differences-from-celery.md)",
    tests: ["test_reapplying_frozen_chord_dispatches_body_again", "test_chord_header_id_duplicated_on_rabbitmq"],
  },
  {
    why: "a chord that fails in the header of another calls an errback that is on both bodies for each (the same page)",
    tests: ["test_nested_chord_header_link_error"],
  },
  {
    why: "the test reads the memory, the signals or the log of a worker in its own process",
    tests: [
      "test_send_task_without_ignore_result",
      "test_retry_preserves_ignore_result",
      "test_replaced_task_nesting_level",
      "test_replaced_task_nesting_chain",
      "test_signal_bound_method_receivers",
      "test_trace_log_arguments",
      "test_task_received_has_access_to_stamps",
      "test_linking_stamped_sig",
      "test_err_linking_stamped_sig",
    ],
  },
  {
    why: "the test revokes by remote control, which SQS has not",
    celeryToo: true,
    tests: [
      "test_tasks::test_revoked",
      "test_revoke_keeps_state_of_task_started_elsewhere",
      "test_revoke_by_stamped_headers_no_match",
    ],
  },
  {
    why: "the test looks into Redis as a result backend",
    celeryToo: true,
    tests: [
      "test_chord_on_error",
      "test_redis_subscribed_channels_leak",
      "test_asyncresult_forget_cancels_subscription",
      "test_asyncresult_get_cancels_subscription",
    ],
  },
  {
    why: "a header of a generator is read to its end before it is sent, where the store is not Redis",
    celeryToo: true,
    tests: ["test_chord::test_generator["],
  },
  {
    why: "the test wants a thousand tasks within a minute",
    celeryToo: true,
    either: true,
    tests: ["test_large_group", "test_large_header", "test_chain_to_a_chord_with_large_header"],
  },
  {
    why: "the test is told that a member of the first header has failed, and then looks once whether the last step has",
    celeryToo: true,
    either: true,
    tests: ["test_header_failure_fails_the_chords_after"],
  },
  {
    why: "the test waits for the first of 42 errbacks and looks once for the others, which are tasks of their own",
    either: true,
    tests: ["test_mutable_errback_called_by_chord_from_group_fail_multiple_on_body_failure"],
  },
];

const reasonOf = (test: string) => REASONS.find(({ tests }) => tests.some((part) => test.includes(part)));

/** Prints what was found, and gives whether it is as above. A subtest that fails is a failure of its test. */
export function compare(outcomes: readonly Outcome[], own: boolean): boolean {
  const tests = new Map<string, Outcome["outcome"]>();
  for (const { test, outcome } of outcomes) if (tests.get(test) !== "failed") tests.set(test, outcome);
  const of = (wanted: string) => [...tests].filter(([, outcome]) => outcome === wanted).map(([test]) => test);
  const failed = of("failed");
  const wrong = own
    ? []
    : [
        ...failed.filter((test) => reasonOf(test) === undefined).map((test) => `${test} fails, and nobody knows why`),
        ...of("passed")
          .filter((test) => reasonOf(test)?.either === undefined && reasonOf(test) !== undefined)
          .map((test) => `${test} passes, and there is a reason why it should not`),
      ];
  console.error(`${of("passed").length} passed, ${failed.length} failed, ${of("skipped").length} skipped`);
  for (const { why, celeryToo, tests: parts } of REASONS) {
    const count = failed.filter((test) => parts.some((part) => test.includes(part))).length;
    if (count > 0)
      console.error(
        `${String(count).padStart(4)}  ${why}${celeryToo ? "; Celery's own worker fails them as well" : ""}`,
      );
  }
  for (const line of wrong) console.error(line);
  return wrong.length === 0;
}
