/**
 * What a page does beside being read: it keeps itself and its times up to date, draws its plots, and asks before it acts.
 * Without it every page can be read. The globals are those of uPlot and morphdom, which are served before it.
 */
/** @typedef {{ path: string, body: Record<string, unknown>, label: string, ask?: string, why?: string, done: string, tone?: string, dry?: boolean, go?: string, each?: string, size?: number }} Act */
/** @typedef {{ name: string, color: string, values: (number | null)[], fill?: boolean, bars?: boolean, dash?: number[] }} Series */
/** @typedef {{ unit: string, zone: string, times: number[], series: Series[] }} Plot */

/** @typedef {typeof import("uplot")} UPlot */
/** @typedef {typeof import("morphdom").default} Morph */
const { uPlot, morphdom } = /** @type {{ uPlot: UPlot, morphdom: Morph }} */ (/** @type {unknown} */ (globalThis));
const { body } = document;
const { base = "", token = "", refresh = "0" } = body.dataset;
let ahead = Number(body.dataset["now"]) - Date.now();
const now = () => Date.now() + ahead;

/** @param {string} selector @param {ParentNode} [within] @returns {HTMLElement[]} */
const all = (selector, within = document) =>
  [...within.querySelectorAll(selector)].map((found) => /** @type {HTMLElement} */ (found));
/** @param {string} tag @param {string} [className] @param {string} [text] */
const make = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
};
const digits = new Intl.NumberFormat("en-US");
/** @param {string} text @param {number | undefined} count */
const filled = (text, count) => {
  const shown = text.replaceAll("{count}", digits.format(count ?? 0));
  return count === 1
    ? shown.replace(/\b1 (task|letter)s( are)?\b/g, (_, what, are) => `1 ${what}${are ? " is" : ""}`)
    : shown;
};

// Times

/** @type {[number, string][]} */
const units = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];
/** @param {number} ms */
const relative = (ms) => {
  const seconds = Math.abs(ms) / 1000;
  if (seconds < 1) return "now";
  const [size, unit] = units.find(([from]) => seconds >= from) ?? [1, "s"];
  const text = `${Math.floor(seconds / size)} ${unit}`;
  return ms < 0 ? `${text} ago` : `in ${text}`;
};
/**
 * Whether this tab is paused, also on its next page. A browser that keeps nothing for pages throws: then only on this one.
 * @param {boolean} [now]
 */
const keptPause = (now) => {
  try {
    if (now !== undefined) sessionStorage.setItem("paused", String(now));
    return sessionStorage.getItem("paused") === "true";
  } catch {
    return false;
  }
};
/** Nothing changes by itself while somebody reads. */
let paused = keptPause();
const tick = () => {
  if (paused) return;
  for (const time of all("time[data-t]")) {
    const span = time.querySelector("span");
    const text = relative(Number(time.dataset["t"]) - now());
    if (span !== null && span.textContent !== text) span.textContent = text;
  }
};
setInterval(tick, 1000);

// Plots

/** @type {WeakMap<HTMLElement, { of: string, plot: import("uplot") }>} */
const plots = new WeakMap();
/** @param {string} tone */
const colour = (tone) => getComputedStyle(document.documentElement).getPropertyValue(`--${tone}`).trim();
/** @param {number} value @param {string} unit */
const shown = (value, unit) =>
  unit !== "s"
    ? `${digits.format(value)}${unit === "" ? "" : ` ${unit}`}`
    : value >= 3600
      ? `${+(value / 3600).toFixed(1)} h`
      : value >= 60
        ? `${+(value / 60).toFixed(1)} min`
        : value >= 1 || value === 0
          ? `${+value.toFixed(1)} s`
          : `${Math.round(value * 1000) || +(value * 1000).toPrecision(1)} ms`;

/** @param {HTMLElement} place */
const draw = (place) => {
  if (uPlot === undefined) return;
  const text = place.dataset["plot"] ?? "";
  const known = plots.get(place);
  if (known !== undefined && known.of === text && known.plot.width === place.clientWidth) return;
  known?.plot.destroy();
  place.replaceChildren();
  /** @type {Plot} */
  const { unit, zone, times, series } = JSON.parse(text);
  const tip = make("div", "tip");
  tip.hidden = true;
  const axis = {
    stroke: () => colour("soft"),
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
  const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const plot = new uPlot(
    {
      width: place.clientWidth,
      height: 190,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zone),
      legend: { show: false },
      cursor: { points: { size: 5 }, drag: { x: false, y: false } },
      scales: { y: { range: (_, _low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [
        {
          ...axis,
          space: 70,
          size: 30,
          values: (_, splits) => splits.map((at) => (span > 172800 ? day : clock).format(at * 1000)),
        },
        { ...axis, size: 58, values: (_, splits) => splits.map((value) => shown(value, unit)) },
      ],
      series: [
        {},
        ...series.map(({ name, color, values, fill, bars, dash }) => ({
          label: name,
          ...(dash && { dash }),
          stroke: () => colour(color),
          width: 1.6,
          // A value without one before and after it is no line.
          points: {
            show: false,
            filter: () =>
              values.flatMap((value, at) =>
                !bars && value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null
                  ? [at]
                  : [],
              ),
          },
          spanGaps: false,
          ...(fill && { fill: () => colour(`${color}-soft`) }),
          ...(bars && {
            paths: uPlot.paths.bars?.({ size: [0.8, 20], align: 1 }),
            fill: () => colour(color),
            width: 0,
          }),
        })),
      ],
      hooks: {
        setCursor: [
          (self) => {
            const { idx, left = -1 } = self.cursor;
            tip.hidden = idx === null || idx === undefined || left < 0;
            if (tip.hidden) return;
            const index = /** @type {number} */ (idx);
            const values = series.map(
              ({ name, values: of }) => `${name} ${of[index] === null ? "–" : shown(Number(of[index]), unit)}`,
            );
            tip.textContent = [
              `${day.format((times[index] ?? 0) * 1000)} ${clock.format((times[index] ?? 0) * 1000)}`,
              ...values,
            ].join("\n");
            tip.style.left = `${Math.min(left + 66, place.clientWidth - 130)}px`;
          },
        ],
      },
    },
    [times, ...series.map(({ values }) => values)],
    place,
  );
  place.append(tip);
  plots.set(place, { of: text, plot });
};
/** What a plot shows, for who does not see it. Made when it is opened: it would make every update twice as large. @param {HTMLElement} place */
const tabulate = (place) => {
  const details = place.parentElement?.querySelector("details");
  const table = details?.querySelector("table");
  if (!details?.open || !table || table.dataset["of"] === place.dataset["plot"]) return;
  table.dataset["of"] = place.dataset["plot"] ?? "";
  /** @type {Plot} */
  const { unit, zone, times, series } = JSON.parse(place.dataset["plot"] ?? "");
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, dateStyle: "short", timeStyle: "short" });
  const head = make("tr");
  for (const text of ["Time", ...series.map(({ name }) => name)]) head.append(make("th", "", text));
  const rows = times.map((at, index) => {
    const row = make("tr");
    row.append(make("th", "", format.format(at * 1000)));
    for (const { values } of series)
      row.append(make("td", "num", values[index] == null ? "–" : shown(Number(values[index]), unit)));
    return row;
  });
  const [thead, tbody] = [make("thead"), make("tbody")];
  thead.append(head);
  // The newest first.
  tbody.append(...rows.reverse());
  table.replaceChildren(thead, tbody);
};
const drawAll = () => {
  for (const place of all("[data-plot]")) {
    draw(place);
    tabulate(place);
  }
};
document.addEventListener("toggle", drawAll, true);
addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const place of all("[data-plot]")) plots.get(place)?.plot.redraw();
});

// Live

const seconds = Number(refresh);
const main = /** @type {HTMLElement} */ (document.querySelector("main"));
/** @param {string} state @param {string} text */
const say = (state, text) => {
  for (const badge of all(".live")) {
    badge.dataset["state"] = state;
    if (badge.textContent !== text) badge.textContent = text;
  }
};
let last = new Date();
const time = () => last.toLocaleTimeString("en-GB");
/**
 * Where the focus goes when what has it is gone: to the row after it, else to one before, else to what is around them. So
 * Tab goes on from there, and no other row's button is pressed by mistake. @returns {() => void}
 */
const nearFocus = () => {
  const { activeElement: held } = document;
  if (held === null || held === body) return () => undefined;
  const row = held.closest("tr, li");
  const rows = row === null ? [] : [...(row.parentElement?.children ?? [])];
  const index = row === null ? 0 : rows.indexOf(row);
  const near = [held, row, ...rows.slice(index + 1), ...rows.slice(0, index).reverse()];
  return () => {
    if (document.querySelector("dialog[open]") !== null || (held.isConnected && held.checkVisibility())) return;
    const next = [...near, held.closest("[data-list], .card"), main].find(
      (one) => one?.isConnected && one.checkVisibility(),
    );
    if (!(next instanceof HTMLElement)) return;
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
  };
};
/** @param {Element} from @param {Element} to */
const keep = (from, to) => {
  if (from === document.activeElement && from.getAttribute("tabindex") === "-1") to.setAttribute("tabindex", "-1");
  // What somebody has written, chosen or opened is theirs.
  if (from.matches("input, select, textarea, dialog, [data-pause], [data-keep]")) return false;
  if (from instanceof HTMLDetailsElement && to instanceof HTMLDetailsElement) to.open = from.open;
  if (from.matches(".live, .bulk, [data-count]")) return false;
  if (from.matches("[data-plot]")) {
    from.setAttribute("data-plot", to.getAttribute("data-plot") ?? "");
    return false;
  }
  return !from.isEqualNode(to);
};
/** @type {AbortController | undefined} */
let asking;
const update = async () => {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  const answer = await fetch(location.href, {
    headers: { "x-board": "live" },
    signal: AbortSignal.any([mine.signal, AbortSignal.timeout(30_000)]),
  });
  if (!answer.ok && answer.status !== 404)
    throw new Error(
      answer.status === 401 || answer.status === 403 ? "you are logged out" : `the board answers ${answer.status}`,
    );
  if (answer.redirected) throw new Error("you are logged out");
  const text = await answer.text();
  if (mine.signal.aborted) return false;
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.querySelector("main");
  if (fresh === null) throw new Error("the answer is no page of the board");
  const refocus = nearFocus();
  morphdom(main, fresh, {
    getNodeKey: (node) => (node instanceof Element ? node.id || node.getAttribute("data-key") || undefined : undefined),
    onBeforeElUpdated: keep,
    onBeforeNodeDiscarded: (node) => !(node instanceof Element && node.matches(".toasts, dialog[open]")),
  });
  const nav = page.querySelector(".nav");
  if (nav !== null) morphdom(/** @type {HTMLElement} */ (document.querySelector(".nav")), nav);
  last = new Date();
  ahead = Number(page.body.dataset["now"]) - Date.now();
  tick();
  drawAll();
  count();
  refocus();
  return true;
};
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let lost = 0;
const next = () => {
  clearTimeout(timer);
  if (seconds === 0 || document.hidden || paused) return;
  // Who does not answer is asked less often, up to once a minute.
  timer = setTimeout(cycle, Math.min(seconds * 2 ** Math.min(lost, 4), Math.max(60, seconds)) * 1000);
};
const cycle = async () => {
  clearTimeout(timer);
  try {
    // One that came later has its place taken: that one goes on.
    if (!(await update())) return;
    lost = 0;
    sayState();
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") return;
    lost++;
    const why =
      error instanceof TypeError
        ? "no connection"
        : error instanceof Error && error.name === "TimeoutError"
          ? "no answer in 30 s"
          : error instanceof Error
            ? error.message
            : String(error);
    say("lost", `Not live since ${time()}: ${why}. Trying again`);
  }
  next();
};
const switches = /** @type {HTMLButtonElement[]} */ (all("[data-pause]"));
const sayState = () => (paused ? say("idle", "Paused") : say("live", "Live"));
const showPaused = () => {
  for (const button of switches) {
    button.hidden = seconds === 0;
    button.textContent = paused ? "Go on with updates" : "Pause updates";
  }
};
for (const button of switches)
  button.addEventListener("click", () => {
    paused = !paused;
    keptPause(paused);
    showPaused();
    if (paused) {
      asking?.abort();
      clearTimeout(timer);
      sayState();
    } else cycle().catch(() => undefined);
  });
showPaused();
document.addEventListener("visibilitychange", () => {
  if (seconds === 0 || paused) return;
  if (document.hidden) {
    clearTimeout(timer);
    say("idle", "Paused while hidden");
  } else cycle().catch(() => undefined);
});
if (seconds > 0) {
  sayState();
  if (body.dataset["later"] === undefined) next();
  else cycle().catch(() => undefined);
}

// Actions

const toasts = make("div", "toasts");
toasts.setAttribute("role", "status");
toasts.setAttribute("aria-live", "polite");
body.append(toasts);
/** @param {"ok" | "bad"} tone @param {string} text */
const toast = (tone, text) => {
  const made = make("div", `toast ${tone}`);
  const close = make("button", "", "×");
  close.setAttribute("aria-label", "Close this message");
  const remove = () => {
    const refocus = nearFocus();
    made.remove();
    refocus();
  };
  close.addEventListener("click", remove);
  made.append(make("span", "", text), close);
  toasts.append(made);
  // What went wrong stays until it was read, and what somebody points at, or has the focus in, for as long as they do.
  const later = () => setTimeout(() => (made.matches(":hover, :focus-within") ? later() : remove()), 10_000);
  if (tone === "ok") later();
};

/** @param {string} path @param {unknown} content @returns {Promise<any>} */
const post = async (path, content) => {
  const answer = await fetch(`${base}/api${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-board-token": token },
    body: JSON.stringify(content),
  }).catch(() => {
    throw new Error("The board does not answer. Nothing is known of whether it was done: look before you try again.");
  });
  const text = await answer.text();
  /** @type {any} */
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    read = undefined;
  }
  if (!answer.ok) throw new Error(read?.error?.message ?? read?.message ?? `The board answers ${answer.status}.`);
  return read;
};

/**
 * Asks in a dialog, and runs what was confirmed.
 * @param {string} title @param {string | undefined} why @param {string} label @param {string | undefined} tone
 * @param {(progress: HTMLProgressElement) => Promise<() => unknown>} run What it gives back follows when the dialog is closed.
 */
const question = (title, why, label, tone, run) => {
  const dialog = /** @type {HTMLDialogElement} */ (make("dialog"));
  const heading = make("h2", "", title);
  heading.id = "question";
  dialog.setAttribute("aria-labelledby", "question");
  dialog.append(heading);
  if (why !== undefined && why !== "") dialog.append(make("p", "soft", why));
  const progress = /** @type {HTMLProgressElement} */ (make("progress"));
  progress.setAttribute("aria-label", "Progress");
  progress.hidden = true;
  const row = make("div", "row end");
  const cancel = /** @type {HTMLButtonElement} */ (make("button", "", "Cancel"));
  const go = /** @type {HTMLButtonElement} */ (make("button", tone === "risk" ? "risk" : "main", label));
  cancel.addEventListener("click", () => dialog.close());
  const refocus = nearFocus();
  dialog.addEventListener("close", () => {
    dialog.remove();
    refocus();
  });
  go.addEventListener("click", async () => {
    go.disabled = true;
    progress.hidden = false;
    // A button that cannot be pressed any more has no focus.
    cancel.textContent = "Close";
    cancel.focus();
    const after = await run(progress);
    dialog.close();
    // What is said while a dialog is open is not heard by who does not see it.
    await after();
  });
  row.append(cancel, go);
  dialog.append(progress, row);
  body.append(dialog);
  dialog.showModal();
  // Enter must not do what cannot be undone.
  (tone === "risk" ? cancel : go).focus();
  return dialog;
};

/** @param {any} answer */
const counted = (answer) => (typeof answer?.count === "number" ? answer.count : undefined);

/**
 * Sends it; many ids some at a time, so that it can be seen how far it is.
 * @param {Act} act @param {HTMLProgressElement} [progress]
 */
const perform = async (act, progress) => {
  const { path, body: content, each, size = 50 } = act;
  /** @type {Record<string, unknown>[]} */
  let parts = [content];
  const list = each === undefined ? undefined : content[each];
  if (each !== undefined && Array.isArray(list) && list.length > size)
    parts = Array.from({ length: Math.ceil(list.length / size) }, (_, at) => ({
      ...content,
      [each]: list.slice(at * size, (at + 1) * size),
    }));
  if (parts.length === 1) return post(path, content);
  let count = 0;
  /** @type {any[]} */
  const failed = [];
  for (const [at, part] of parts.entries()) {
    const answer = await post(path, part);
    count += counted(answer) ?? 0;
    if (Array.isArray(answer?.failed)) failed.push(...answer.failed);
    if (progress !== undefined) {
      progress.max = parts.length;
      progress.value = at + 1;
    }
  }
  return { count, failed };
};

/**
 * Sends what is for all that match, and asks how far it is until it is done.
 * @param {Act} act @param {number} many @param {HTMLProgressElement} [progress]
 */
const performAll = async (act, many, progress) => {
  let work = await post(act.path, { ...act.body, background: true });
  // A function of Lambda does it before it answers.
  while (work?.state === "running") {
    if (progress !== undefined) {
      progress.max = many;
      progress.value = Math.min(many, work.done);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
    const answer = await fetch(`${base}/api/operations/${work.id}`).catch(() => undefined);
    if (answer?.ok !== true)
      throw new Error("It goes on, and nobody can say how far it is: load this page anew to see what is left.");
    work = await answer.json();
  }
  if (work?.state === "failed") throw new Error(work.error);
  return work?.state === "done" ? work.result : work;
};

/** @param {any} answer */
const refusals = (answer) => {
  /** @type {string[]} */
  const told = [];
  for (const one of Array.isArray(answer?.failed) ? answer.failed.slice(0, 5) : []) {
    const error = typeof one?.error === "string" ? one.error : (one?.error?.message ?? one?.message ?? "refused");
    told.push(`${one?.id ?? one?.letter?.message ?? ""}: ${error}`);
  }
  for (const [reason, many] of Object.entries(answer?.skipped ?? {}))
    told.push(`${many} left out: ${answer.reasons[reason]}`);
  return told;
};

/** @param {Act} act */
const start = async (act) => {
  /** @param {unknown} error */
  const refused = (error) => toast("bad", error instanceof Error ? error.message : String(error));
  /** @param {HTMLProgressElement} [progress] @param {number} [total] @returns {Promise<() => unknown>} */
  const run = async (progress, total) => {
    try {
      const answer = await (total === undefined ? perform(act, progress) : performAll(act, total, progress));
      const many = counted(answer);
      const told = refusals(answer);
      const isRefused = Array.isArray(answer?.failed) && answer.failed.length > 0;
      const done = isRefused && many === 0 ? [] : [filled(act.done, many)];
      return async () => {
        toast(isRefused ? "bad" : "ok", [...done, ...told].join("\n"));
        if (act.go !== undefined) {
          location.assign(base + act.go.replace("{id}", encodeURIComponent(String(answer?.id ?? ""))));
          // Nothing is pressed a second time until the other page is there.
          return new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));
        }
        const refocus = nearFocus();
        for (const box of /** @type {HTMLInputElement[]} */ (all("input[data-pick]:checked, input[data-all]")))
          box.checked = false;
        count();
        refocus();
        return cycle();
      };
    } catch (error) {
      return () => refused(error);
    }
  };
  const { ask, label } = act;
  if (act.dry !== true) {
    if (ask === undefined) await (await run())();
    else question(ask, act.why, label, act.tone, run);
    return;
  }
  try {
    const answer = await post(act.path, { ...act.body, dryRun: true });
    const many = counted(answer) ?? 0;
    if (many === 0) {
      toast("bad", ["Nothing of it can be done any more.", ...refusals(answer)].join("\n"));
      return;
    }
    const why = [act.why, ...refusals(answer)].filter(Boolean).join("\n");
    question(filled(ask ?? label, many), why, filled(label, many), act.tone, (progress) => run(progress, many));
  } catch (error) {
    refused(error);
  }
};
/** Pressed twice it is done once. */
let isBusy = false;
/** @param {Act} act */
const once = (act) => {
  if (isBusy || document.querySelector("dialog[open]") !== null) return;
  isBusy = true;
  const done = () => {
    isBusy = false;
  };
  start(act).then(done, done);
};

// What is chosen

/** What is chosen in a list: a task whose attempts are chosen, once. @param {ParentNode} list */
const chosenIn = (list) => [
  ...new Set(/** @type {HTMLInputElement[]} */ (all("input[data-pick]:checked", list)).map(({ value }) => value)),
];

const count = () => {
  for (const list of all("[data-list]")) {
    const picked = /** @type {HTMLInputElement[]} */ (all("input[data-pick]", list)).filter(({ checked }) => checked);
    const every = /** @type {HTMLInputElement[]} */ (all("input[data-pick]", list));
    for (const box of /** @type {HTMLInputElement[]} */ (all("input[data-all]", list))) {
      box.checked = every.length > 0 && picked.length === every.length;
      box.indeterminate = picked.length > 0 && picked.length < every.length;
    }
    const many = chosenIn(list).length;
    // It stands outside of what is hidden, so that it is heard when it changes.
    for (const told of all("[data-count]", list)) {
      const text = many === 0 ? "" : `${digits.format(many)} chosen`;
      if (told.textContent !== text) told.textContent = text;
    }
    for (const bar of all(".bulk", list)) {
      bar.hidden = many === 0;
      for (const button of all("[data-bulk]", bar)) button.textContent = filled(button.dataset["label"] ?? "", many);
    }
  }
};

document.addEventListener("change", ({ target }) => {
  if (!(target instanceof HTMLInputElement || target instanceof HTMLSelectElement)) return;
  if (target instanceof HTMLInputElement && target.matches("[data-all]")) {
    const list = /** @type {HTMLElement} */ (target.closest("[data-list]"));
    for (const box of /** @type {HTMLInputElement[]} */ (all("input[data-pick]", list))) box.checked = target.checked;
  }
  if (target.matches("[data-all], [data-pick]")) count();
});

document.addEventListener("click", ({ target }) => {
  if (!(target instanceof Element)) return;
  const button = /** @type {HTMLElement | null} */ (target.closest("[data-act], [data-bulk]"));
  if (button === null) return;
  const given = button.dataset["act"] ?? button.dataset["bulk"] ?? "";
  /** @type {Act} */
  const act = JSON.parse(given);
  if (button.dataset["bulk"] !== undefined) {
    const values = chosenIn(/** @type {HTMLElement} */ (button.closest("[data-list]")));
    act.body = { ...act.body, [act.each ?? "ids"]: values };
    act.label = filled(act.label, values.length);
    if (act.ask !== undefined) act.ask = filled(act.ask, values.length);
  }
  once(act);
});

// Forms

/** What a form says, by the names of its fields: `args/0/width` is within the first argument. @param {HTMLFormElement} form */
const read = (form) => {
  /** @type {Record<string, any>} */
  const found = {};
  for (const field of form.elements) {
    if (
      !(field instanceof HTMLInputElement || field instanceof HTMLSelectElement || field instanceof HTMLTextAreaElement)
    )
      continue;
    if (field.name === "" || field.disabled) continue;
    const kind = field.dataset["kind"] ?? "text";
    field.setCustomValidity("");
    /** @type {unknown} */
    let value;
    if (field instanceof HTMLInputElement && field.type === "checkbox") value = field.checked;
    else if (field.value === "") {
      if (kind !== "text" || !field.required) continue;
      value = "";
    } else if (kind === "json") {
      try {
        value = JSON.parse(field.value);
      } catch (error) {
        field.setCustomValidity(`This is no JSON: ${error instanceof Error ? error.message : error}`);
      }
      const wanted = field.dataset["of"];
      if (wanted === "list" && field.validationMessage === "" && !Array.isArray(value))
        field.setCustomValidity('A list is needed, such as [1, "two"]');
      if (
        wanted === "object" &&
        field.validationMessage === "" &&
        (typeof value !== "object" || value === null || Array.isArray(value))
      )
        field.setCustomValidity('An object is needed, such as {"width": 100}');
    } else if (kind === "number") value = Number(field.value);
    else if (kind === "boolean") value = field.value === "true";
    else value = field.value;
    const path = field.name.split("/").map(decodeURIComponent);
    let place = found;
    for (const [index, step] of path.slice(0, -1).entries())
      place = place[step] ??= /^\d+$/.test(path[index + 1] ?? "") ? [] : {};
    place[/** @type {string} */ (path.at(-1))] = value;
  }
  return found;
};

// A complaint is about what was written then: as long as it stands, the browser does not send the form.
document.addEventListener("input", ({ target }) => {
  if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) target.setCustomValidity("");
});
document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.method === "get") {
    // A URL that is sent to a colleague says what was asked, and nothing else.
    for (const field of form.elements) {
      if ((field instanceof HTMLInputElement || field instanceof HTMLSelectElement) && field.value === "")
        field.disabled = true;
    }
    return;
  }
  event.preventDefault();
  const content = read(form);
  if (!form.reportValidity()) return;
  /** @type {Act} */
  const act = JSON.parse(form.dataset["send"] ?? "{}");
  act.body = { ...act.body, ...content };
  once(act);
});
addEventListener("pageshow", ({ persisted }) => {
  for (const field of all("form[method=get] :disabled")) field.removeAttribute("disabled");
  // Who comes back sees the filters of the list that is shown.
  if (persisted) for (const form of document.querySelectorAll("form")) if (form.method === "get") form.reset();
  count();
});

drawAll();
count();
