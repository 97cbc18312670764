// ZeroG's client for browsers and other JavaScript: submits jobs, follows them, and shows their progress.
//
//   <script type="module" src="/jobs-api/zerog.js"></script>
//   <zerog-progress src="/jobs-api" job="0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f" cancellable></zerog-progress>
//
// One file without dependencies, for every browser since 2023. Texts of jobs are put into a page as text, never as HTML.

/**
 * What is known of a job; times are ISO 8601 texts.
 * @typedef {object} Progress
 * @property {string} uuid
 * @property {string} jobType
 * @property {"new" | "queued" | "scheduled" | "running" | "succeeded" | "failed" | "cancelled"} status
 * @property {number} completeness from 0.0 to 1.0
 * @property {number} result the result code; -1 until the job has ended
 * @property {number | null} rate completeness a second of this run
 * @property {number | null} eta_low seconds that are left, at least
 * @property {number | null} eta_high the same, at most
 * @property {number | null} quiet_for seconds since the last write of a running job, in whole minutes
 * @property {boolean} stalled true if it runs and has written nothing for long
 * @property {string} createdAt
 * @property {string} updatedAt
 * @property {string | null} startedAt
 * @property {string | null} finishedAt
 * @property {string | null} notBefore
 * @property {string | null} cancelRequested
 * @property {{ msg: string } | null} lastError
 */

/**
 * @typedef {object} Options
 * @property {string} [token] a bearer token, for a server that wants one
 * @property {number} [poll] milliseconds between two polls where there are no streams; 2,000 by default
 */

/**
 * @typedef {object} FollowOptions
 * @property {AbortSignal} [signal] ends it
 * @property {(error: Error | null) => void} [onTrouble] called when the server can't be reached, and with null when it
 *   can again
 */

const ENDED = ["succeeded", "failed", "cancelled"];
const SILENT = 40_000; // milliseconds without a byte after which a stream is broken: the server sends some every 15 s
const FIRST = 10_000; // the same for the first event: something on the way may keep a stream back
const LONGEST = 10_000; // milliseconds between two tries, at most
const POLLED = 60_000; // milliseconds of polling after which a stream is tried again
const TRIES = 5; // of a submit

/** An answer that refuses a request, with what it means for the job. */
export class ZeroGError extends Error {
  /** @param {number} status @param {any} problem the body of the answer */
  constructor(status, problem) {
    super(problem?.detail ?? `The server answered ${status}.`);
    this.name = "ZeroGError";
    this.status = status;
    /** @type {string | undefined} what happens to the job */
    this.effect = problem?.effect;
    /** @type {Record<string, any> | undefined} messages by field */
    this.errors = problem?.errors;
  }
}

/** @param {unknown} error */
const isFinal = (error) => error instanceof ZeroGError && error.status < 500 && ![408, 429].includes(error.status);

/** @param {number} milliseconds @param {AbortSignal} [signal] */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(undefined)), { once: true });
  });
}

/** A new uuid; `crypto.randomUUID` is missing in pages that were sent without encryption. */
function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** A client of the REST API. */
export class ZeroG {
  /** @param {string} [base] the path or address of the API, such as "/jobs-api" @param {Options} [options] */
  constructor(base = "", options = {}) {
    this.base = base.replace(/\/$/, "");
    this.options = options;
  }

  /**
   * Submit a job. A try whose answer was lost is repeated under the same uuid, so that it makes no second job.
   * @param {string} type
   * @param {Record<string, unknown>} [params]
   * @param {Record<string, unknown>} [options] those of POST /jobs: delay, at, priority, queue, …
   * @returns {Promise<{ uuid: string, status: string, links: Record<string, string> }>}
   */
  async submit(type, params = {}, options = {}) {
    const body = { uuid: newUuid(), ...options, type, params };
    for (let tried = 1; ; tried++) {
      try {
        return await this.#ask("POST", "/jobs", body);
      } catch (error) {
        if (isFinal(error) || tried === TRIES) throw error;
        await pause(Math.min(250 * 2 ** tried, LONGEST));
      }
    }
  }

  /** @param {string} uuid @returns {Promise<Progress>} */
  progress(uuid) {
    return this.#ask("GET", `/jobs/${encodeURIComponent(uuid)}`);
  }

  /** The result, as its class gives it. @param {string} uuid @returns {Promise<any>} */
  async data(uuid) {
    return (await this.#ask("GET", `/jobs/${encodeURIComponent(uuid)}/data`)).data;
  }

  /** @param {string} uuid @returns {Promise<{ uuid: string, status: string }>} */
  cancel(uuid) {
    return this.#ask("POST", `/jobs/${encodeURIComponent(uuid)}/cancel`);
  }

  /** Wait for the end. @param {string} uuid @param {FollowOptions} [options] @returns {Promise<Progress>} */
  async wait(uuid, options = {}) {
    let last;
    for await (const progress of this.follow(uuid, options)) last = progress;
    if (!last || !ENDED.includes(last.status)) throw options.signal?.reason ?? new Error("It was not followed to its end.");
    return last;
  }

  /**
   * Yield a job's progress now, after each change, and last at its end. Outlasts lost connections and restarts of the
   * server, and polls where there are no streams. Throws ZeroGError if there is no such job, or it may not be read.
   * @param {string} uuid
   * @param {FollowOptions} [options]
   * @returns {AsyncGenerator<Progress>}
   */
  async *follow(uuid, options = {}) {
    const { signal, onTrouble } = options;
    const path = `/jobs/${encodeURIComponent(uuid)}`;
    const state = { id: "", job: /** @type {any} */ ({}), failures: 0, pollUntil: 0 };
    while (!signal?.aborted) {
      try {
        const source = Date.now() < state.pollUntil ? this.#poll(path, state, signal) : this.#stream(path, state, signal);
        for await (const job of source) {
          if (state.failures) onTrouble?.(null);
          state.failures = 0;
          yield job;
        }
        if (ENDED.includes(state.job.status)) return;
        await pause(500, signal); // a stream ends after an hour, to begin again
      } catch (error) {
        if (signal?.aborted) return;
        if (isFinal(error)) throw error;
        if (!state.failures++) onTrouble?.(/** @type {Error} */ (error));
        await this.#awake(pause(Math.min(500 * 2 ** state.failures, LONGEST) * (0.75 + Math.random() / 2), signal), signal);
      }
    }
  }

  /** @param {string} path @param {any} state @param {AbortSignal} [signal] @returns {AsyncGenerator<Progress>} */
  async *#stream(path, state, signal) {
    const ending = new AbortController();
    const end = () => ending.abort();
    signal?.addEventListener("abort", end);
    let last = Date.now();
    const back = () => document.visibilityState === "visible" && Date.now() - last > SILENT / 2 && end();
    globalThis.document?.addEventListener("visibilitychange", back); // a tab that slept: its connection may be gone
    let timer = setTimeout(end, state.id ? SILENT : FIRST); // without a change since, nothing but comments comes
    try {
      const headers = { Accept: "text/event-stream", ...(state.id && { "Last-Event-ID": state.id }) };
      const answer = await fetch(this.base + path + "/stream", this.#request("GET", headers, undefined, ending.signal));
      if (answer.status === 204) return; // it has ended as it is known here
      const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream") && answer.body;
      if (!answer.ok || !isStream) {
        const error = new ZeroGError(answer.ok ? 503 : answer.status, await answer.json().catch(() => null));
        if (isFinal(error) && [401, 403, 404].includes(error.status)) throw error;
        state.pollUntil = Date.now() + POLLED;
        return;
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        last = Date.now();
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop() ?? "";
        if (blocks.length || state.id) {
          clearTimeout(timer);
          timer = setTimeout(end, SILENT);
        }
        for (const block of blocks) {
          const event = Object.fromEntries(block.split("\n").map((line) => [line.split(":", 1)[0], line.replace(/^\w*: ?/, "")]));
          if (event.id) state.id = event.id;
          if (event.event === "gone") throw new ZeroGError(404, { detail: "The job was removed." });
          if (event.event !== "progress" && event.event !== "change") continue;
          state.job = { ...state.job, ...JSON.parse(event.data) };
          yield state.job;
        }
      }
    } catch (error) {
      if (!ending.signal.aborted || signal?.aborted) throw error;
      if (!state.id) state.pollUntil = Date.now() + POLLED; // nothing came: something on the way keeps it back
    } finally {
      clearTimeout(timer);
      globalThis.document?.removeEventListener("visibilitychange", back);
      signal?.removeEventListener("abort", end);
      end();
    }
  }

  /** @param {string} path @param {any} state @param {AbortSignal} [signal] @returns {AsyncGenerator<Progress>} */
  async *#poll(path, state, signal) {
    while (Date.now() < state.pollUntil && !signal?.aborted) {
      const limit = AbortSignal.timeout(SILENT);
      /** @type {Record<string, string>} */
      const headers = state.id ? { "If-None-Match": `"${state.id}"` } : {};
      const answer = await fetch(this.base + path, this.#request("GET", headers, undefined, limit));
      if (answer.status !== 304) {
        if (!answer.ok) throw new ZeroGError(answer.status, await answer.json().catch(() => null));
        state.job = await answer.json();
        state.id = (answer.headers.get("ETag") ?? "").replace(/^W\/|"/g, "");
        yield state.job;
        if (ENDED.includes(state.job.status)) return;
      }
      await this.#awake(pause(this.options.poll ?? 2_000, signal), signal);
    }
  }

  /** Wait, but no longer than until a sleeping tab is shown again. @param {Promise<unknown>} wait @param {AbortSignal} [signal] */
  async #awake(wait, signal) {
    const shown = new AbortController();
    await Promise.race([
      wait,
      new Promise((resolve) =>
        globalThis.document?.addEventListener("visibilitychange", resolve, { once: true, signal: shown.signal })
      ),
    ]);
    shown.abort();
  }

  /** @param {string} method @param {Record<string, string>} headers @param {unknown} body @param {AbortSignal} [signal] @returns {RequestInit} */
  #request(method, headers, body, signal) {
    const { token } = this.options;
    const sent = { ...headers, ...(token && { Authorization: `Bearer ${token}` }) };
    if (body === undefined) return { method, headers: sent, signal, cache: "no-store" };
    return { method, headers: { ...sent, "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const answer = await fetch(this.base + path, this.#request(method, {}, body));
    const content = await answer.json().catch(() => null);
    if (!answer.ok) throw new ZeroGError(answer.status, content);
    return content;
  }
}

const STYLE = `
  :host { display: block; font: 0.9375rem/1.4 system-ui, sans-serif; color-scheme: inherit;
    --accent: var(--zerog-accent, light-dark(#2563eb, #60a5fa)); --good: light-dark(#15803d, #4ade80);
    --bad: light-dark(#b91c1c, #f87171); --odd: light-dark(#a16207, #facc15);
    --dim: light-dark(#57606a, #9aa4b2); --track: light-dark(#e4e8ee, #2d333b); --now: var(--accent); }
  :host([hidden]) { display: none; }
  [data-state="waiting"], [data-state="cancelled"], [data-state="unknown"] { --now: var(--dim); }
  [data-state="succeeded"] { --now: var(--good); }
  [data-state="failed"] { --now: var(--bad); }
  [data-state="stalled"] { --now: var(--odd); }
  .line { display: flex; align-items: baseline; gap: 0.75em; }
  .label { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .status { color: var(--now); font-size: 0.875em; font-weight: 500; }
  .percent { margin-inline-start: auto; font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
  .bar { height: 0.5rem; margin: 0.4rem 0; border-radius: 1rem; background: var(--track); overflow: hidden; }
  .done { height: 100%; width: 0; border-radius: inherit; background: var(--now); transition: width 0.4s ease-out; }
  .note { color: var(--dim); font-size: 0.875em; min-height: 1.4em; overflow-wrap: anywhere; }
  [data-state="failed"] .note { color: var(--bad); }
  .trouble { color: var(--odd); }
  button { font: inherit; font-size: 0.875em; padding: 0.1em 0.9em; border-radius: 0.4rem; cursor: pointer;
    color: inherit; background: transparent; border: 1px solid var(--dim); }
  button:hover { border-color: var(--accent); }
  button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  button:disabled { opacity: 0.5; cursor: default; }
  [hidden] { display: none; }
  @media (prefers-reduced-motion: reduce) { .done { transition: none; } }
`;

/** A time in two digits and a unit. @param {number} seconds */
function span(seconds) {
  const units = /** @type {const} */ ([[86_400, "d"], [3_600, "h"], [60, "min"]]);
  const [length, name] = units.find(([length]) => seconds >= length * 1.5) ?? [1, "s"];
  const number = seconds / length;
  return [number < 10 && length > 1 ? Math.round(number * 2) / 2 : Math.round(number), name];
}

/** How long it may still take. @param {Progress} job */
function left(job) {
  if (job.eta_low == null || job.eta_high == null) return "";
  const [[low, small], [high, large]] = [span(job.eta_low), span(job.eta_high)];
  if (high === 0) return "Nearly done.";
  if (low === high && small === large) return `About ${high} ${large} left.`;
  return `${low}${small === large ? "" : ` ${small}`} to ${high} ${large} left.`;
}

const WORDS = { cancelled: "Stopped on request.", queued: "Waits for a worker.", new: "Not submitted yet." };

/**
 * `<zerog-progress src="/jobs-api" job="UUID" label="Import" cancellable>`: one job, as it changes. Dispatches
 * `zerog-change` and, last, `zerog-end`, with the progress as `detail`. A token, or options, are given by the property
 * `client`. Colours follow the page's `color-scheme`; `--zerog-accent` is that of the bar.
 */
class ZeroGProgress extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["job", "src", "label", "cancellable"];

  /** @type {ZeroG | null} */
  #client = null;
  /** @type {AbortController | null} */
  #following = null;
  /** @type {Progress | null} */
  #progress = null;
  #trouble = "";
  #parts;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet(); // which a page's policy allows, unlike an inline style
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    /** @param {string} name @param {string} kind @param {Element[]} inner */
    const part = (name, kind = "div", ...inner) => {
      const made = document.createElement(kind);
      made.className = name;
      made.setAttribute("part", name);
      made.append(...inner);
      return made;
    };
    const [label, status, percent] = ["label", "status", "percent"].map((name) => part(name, "span"));
    const cancel = /** @type {HTMLButtonElement} */ (part("cancel", "button"));
    const done = part("done");
    const bar = part("bar", "div", done);
    const [note, trouble] = [part("note"), part("note trouble")];
    const all = part("all", "div", part("line", "div", label, status, percent, cancel), bar, note, trouble);
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    status.setAttribute("role", "status");
    cancel.textContent = "Cancel";
    cancel.addEventListener("click", () => this.#cancel());
    root.append(all);
    this.#parts = { all, label, status, percent, cancel, bar, done, note, trouble };
  }

  /** The client that is used; by default one of `src`. */
  get client() {
    return (this.#client ??= new ZeroG(this.getAttribute("src") ?? ""));
  }

  set client(client) {
    this.#client = client;
    this.#follow();
  }

  /** What is known of the job now. */
  get progress() {
    return this.#progress;
  }

  connectedCallback() {
    this.#follow();
  }

  disconnectedCallback() {
    this.#following?.abort();
  }

  /** @param {string} name @param {string | null} before @param {string | null} after */
  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === "src") this.#client = null;
    if (name === "src" || name === "job") this.#follow();
    else this.#show();
  }

  async #follow() {
    this.#following?.abort();
    this.#progress = null;
    this.#trouble = "";
    this.#show();
    const job = this.getAttribute("job");
    if (!this.isConnected || !job) return;
    const following = (this.#following = new AbortController());
    /** @param {Error | null} error */
    const onTrouble = (error) => {
      this.#trouble = error ? "The server can't be reached. Trying again…" : "";
      this.#show();
    };
    try {
      for await (const progress of this.client.follow(job, { signal: following.signal, onTrouble })) {
        if (following.signal.aborted) return;
        this.#progress = progress;
        this.#trouble = "";
        this.#show();
        this.dispatchEvent(new CustomEvent("zerog-change", { detail: progress }));
      }
      if (!following.signal.aborted) this.dispatchEvent(new CustomEvent("zerog-end", { detail: this.#progress }));
    } catch (error) {
      if (following.signal.aborted) return;
      this.#progress = null;
      this.#trouble = String(/** @type {Error} */ (error).message);
      this.#show();
    }
  }

  async #cancel() {
    const { cancel } = this.#parts;
    cancel.disabled = true;
    try {
      await this.client.cancel(this.#progress?.uuid ?? "");
    } catch (error) {
      this.#trouble = String(/** @type {Error} */ (error).message);
      this.#show();
    }
  }

  #show() {
    const { all, label, status, percent, cancel, bar, done, note, trouble } = this.#parts;
    const job = this.#progress;
    const share = Math.floor((job?.completeness ?? 0) * 100 + 1e-9); // 100 only when nothing is left
    const isWaiting = ["new", "queued", "scheduled"].includes(job?.status ?? "");
    const state = !job ? "unknown" : job.stalled ? "stalled" : isWaiting ? "waiting" : job.status;
    all.dataset.state = state;
    label.textContent = this.getAttribute("label") ?? job?.jobType ?? "Job";
    status.textContent = job ? (job.stalled ? "stalled" : job.status) : this.#trouble ? "unknown" : "…";
    percent.textContent = job ? `${share} %` : "";
    done.style.width = `${share}%`;
    bar.setAttribute("aria-valuenow", String(share));
    bar.setAttribute("aria-label", label.textContent);
    bar.setAttribute("aria-valuetext", job ? `${share} %, ${status.textContent}` : "unknown");
    note.textContent = job ? this.#words(job) : "";
    trouble.textContent = this.#trouble;
    trouble.hidden = !this.#trouble;
    note.hidden = !trouble.hidden && !note.textContent;
    cancel.hidden = !job || ENDED.includes(job.status) || !this.hasAttribute("cancellable");
    cancel.disabled = Boolean(job?.cancelRequested);
  }

  /** @param {Progress} job */
  #words(job) {
    if (job.status === "scheduled" && job.notBefore) return `Starts at ${new Date(job.notBefore).toLocaleTimeString()}.`;
    if (job.status === "failed") return job.lastError?.msg ?? `It ended with ${job.result}.`;
    if (job.cancelRequested && job.status === "running") return "Stops as soon as it can.";
    if (job.quiet_for) return `No progress for ${span(job.quiet_for).join(" ")}.`;
    if (job.status === "running") return left(job);
    return /** @type {Record<string, string>} */ (WORDS)[job.status] ?? "";
  }
}

globalThis.customElements?.get("zerog-progress") ?? globalThis.customElements?.define("zerog-progress", ZeroGProgress);
