// Submits an import and shows how far it is. What comes from the server is put into the page by textContent alone,
// never as HTML: a job's texts are made of users' input.
"use strict";

const LOOK = 1000; // milliseconds between two looks at a job
const LONGEST = 10000; // the same while the server can't be reached, at most
const SHOWN = 200; // entries of the history; a longer one is read again only every LATER looks
const LATER = 10;
const ENDED = ["succeeded", "failed", "cancelled"];

const at = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));
const clock = (text) => new Date(text).toLocaleTimeString();
let watched = 0; // which of several watches may go on
let history = { asOf: "", length: 0 }; // what is shown of it

async function ask(path, method = "GET", body = undefined) {
  const headers = { "Content-Type": "application/json" };
  const token = document.cookie.match(/csrftoken=([^;]+)/); // Django's
  if (token) headers["X-CSRFToken"] = token[1];
  const options = { method, headers, body: body && JSON.stringify(body), cache: "no-store" };
  const response = await fetch(path, options).catch(() => {
    throw new Error("The server can't be reached.");
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = new Error(answer.error || `The server answered ${response.status}.`);
  throw Object.assign(error, { status: response.status, fields: answer.fields });
}

function showWrong(fields, message = "") {
  for (const place of document.querySelectorAll(".wrong")) {
    const name = place.dataset.field;
    const messages = name ? (fields[name] ?? []) : message ? [message] : [];
    place.textContent = messages.join(" ");
    if (name) at("form").elements[name].setAttribute("aria-invalid", String(messages.length > 0));
  }
}

async function submit(event) {
  event.preventDefault();
  const form = at("form");
  form.querySelector("button").disabled = true;
  showWrong({});
  try {
    const { rows, pace } = form.elements;
    const job = await ask("/jobs", "POST", { rows: rows.value, pace: pace.value });
    location.hash = job.uuid; // which begins to watch it, and makes the address one to come back to
  } catch (error) {
    showWrong(error.fields ?? {}, error.fields ? "" : error.message);
  } finally {
    form.querySelector("button").disabled = false;
  }
}

function describe(state) {
  if (state.status === "scheduled") return `Starts at ${clock(state.notBefore)}.`;
  if (state.status === "queued") return "Waits for a worker.";
  if (state.stalled) return `No sign of it since ${clock(state.updatedAt)}. It may still go on.`;
  if (state.cancelRequested && state.status === "running") return "Stops as soon as it can.";
  return state.status === "cancelled" ? "Stopped on request." : "";
}

function show(state) {
  const waits = ["new", "queued", "scheduled"].includes(state.status);
  const percent = Math.floor(state.completeness * 100 + 1e-9); // 100 only when nothing is left
  at("job").dataset.state = state.stalled ? "stalled" : waits ? "waiting" : state.status;
  at("status").textContent = state.stalled ? "stalled" : state.status;
  at("percent").textContent = `${percent} %`;
  at("bar").setAttribute("aria-valuenow", percent);
  at("done").style.width = `${percent}%`;
  at("note").textContent = describe(state);
  at("cancel").hidden = ENDED.includes(state.status);
  at("cancel").disabled = Boolean(state.cancelRequested);
}

function showHistory(info) {
  if (info.status === "failed") at("note").textContent = info.errors.pop()?.msg ?? `It ended with ${info.result}.`;
  const entries = ["events", "warnings", "errors"].flatMap((kind) => info[kind].map((entry) => ({ kind, ...entry })));
  history = { asOf: info.updatedAt, length: entries.length };
  entries.sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1));
  at("history").replaceChildren(...entries.slice(0, SHOWN).map(({ kind, timestamp, msg }) => {
    const [item, time, text] = ["li", "time", "span"].map((tag) => document.createElement(tag));
    time.textContent = clock(timestamp);
    text.textContent = msg;
    item.className = kind;
    item.append(time, text);
    return item;
  }));
}

function showResult(result) {
  at("result").replaceChildren(...Object.entries(result ?? {}).map(([name, value]) => {
    const [pair, title, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    title.textContent = name;
    text.textContent = typeof value === "object" ? JSON.stringify(value) : value;
    pair.append(title, text);
    return pair;
  }));
  at("result").hidden = false;
}

function showUnknown(message) {
  Object.assign(at("job").dataset, { state: "unknown" });
  at("status").textContent = "unknown";
  at("note").textContent = message;
  at("cancel").hidden = true;
}

function showTrouble(message) {
  at("trouble").hidden = !message;
  at("trouble").textContent = message;
}

function clear(uuid) {
  for (const id of ["status", "percent", "note", "history", "result"]) at(id).textContent = "";
  at("job").hidden = !uuid;
  at("result").hidden = true;
  at("cancel").hidden = true;
  at("done").style.width = "0";
  at("bar").removeAttribute("aria-valuenow");
  at("uuid").textContent = uuid;
  history = { asOf: "", length: 0 };
  showTrouble("");
}

async function look(path, round, isCurrent) {
  let state = await ask(path);
  const isLong = history.length >= SHOWN && round % LATER > 0 && !ENDED.includes(state.status);
  const isNew = state.updatedAt !== history.asOf && !isLong;
  if (isNew) state = await ask(`${path}/info`); // which holds the same fields, and may be later already
  const result = state.status === "succeeded" ? await ask(`${path}/result`) : null;
  if (isCurrent()) {
    show(state);
    if (isNew) showHistory(state);
    if (result) showResult(result.result);
  }
  return ENDED.includes(state.status);
}

async function watch() {
  const uuid = location.hash.slice(1);
  const mine = ++watched;
  const isCurrent = () => mine === watched;
  clear(uuid);
  let wait = LOOK;
  for (let round = 0; uuid && isCurrent(); round++) {
    try {
      const ended = await look(`/jobs/${encodeURIComponent(uuid)}`, round, isCurrent);
      if (isCurrent()) showTrouble("");
      if (ended) return;
      wait = LOOK;
    } catch (error) {
      if (!isCurrent()) return;
      if (error.status === 404) return showUnknown(error.message);
      showTrouble(`${error.message} Trying again…`);
      wait = Math.min(wait * 2, LONGEST);
    }
    await pause(wait);
  }
}

async function cancel() {
  at("cancel").disabled = true;
  try {
    await ask(`/jobs/${encodeURIComponent(location.hash.slice(1))}`, "DELETE");
  } catch (error) {
    if (error.status === 409) return; // it has ended, as the next look will show
    showTrouble(`${error.message} It was not cancelled.`);
    at("cancel").disabled = false;
  }
}

at("form").addEventListener("submit", submit);
at("cancel").addEventListener("click", cancel);
addEventListener("hashchange", watch);
watch();
