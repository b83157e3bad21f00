// Asks /whoami ten times a second, and shows which worker answered.
//
// These answers are all that the page knows. A worker has come when its first answer is here. It
// answers no more when another has answered in its slot, or when its turn has been missed often.

const PACE = 100; // ms from one request to the next
const PACE_AFTER_FAILURE = 1000;
const TURNS_MISSED = 10;
const TIMES_KEPT = 200; // the p50 is that of the last 200 answers
const LATEST_SHOWN = 60;
const GONE_SHOWN = 20;

const element = (id) => document.getElementById(id);
const clock = () => new Date().toLocaleTimeString("en-GB");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const workers = new Map(); // by id and pid: what its answers have told
const holders = new Map(); // by slot: the worker that answers there now
const times = []; // ms, of the last answers
let answered = 0;
let failed = 0;
let paused = false;

// Asking

async function ask() {
  const begun = performance.now();
  const response = await fetch("/whoami");
  const time = performance.now() - begun;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return { identity: await response.json(), time };
}

async function askOnAndOn() {
  for (;;) {
    if (paused || document.hidden) {
      await sleep(PACE);
      continue;
    }
    try {
      const { identity, time } = await ask();
      note(identity, time);
      await sleep(PACE - time);
    } catch (error) {
      failed += 1;
      element("failed").textContent = failed;
      element("failed").classList.add("bad");
      tell(`No answer at ${clock()}: ${error.message}.`);
      await sleep(PACE_AFTER_FAILURE);
    }
  }
}

// What an answer tells

function note(identity, time) {
  answered += 1;
  times.push(time);
  if (times.length > TIMES_KEPT) times.shift();

  const key = `${identity.id} ${identity.pid}`;
  const isNew = !workers.has(key);
  const worker = workers.get(key) ?? { ...identity, answers: 0, first: clock() };
  workers.set(key, worker);
  worker.answers += 1;
  worker.last = clock();
  worker.turn = answered;

  const holder = holders.get(worker.slot);
  const isBack = !isNew && !holder; // it was only silent
  if (isNew || isBack) {
    if (holder) leave(holder, `Worker #${worker.id} has taken the place of #${holder.id}.`);
    come(worker);
  }
  for (const other of holders.values()) {
    if (answered - other.turn > TURNS_MISSED * holders.size) {
      leave(other, `Worker #${other.id} has not answered since ${other.last}.`);
    }
  }
  show(worker);
}

function come(worker) {
  worker.row?.remove();
  worker.tile = element("tile").content.firstElementChild.cloneNode(true);
  worker.tile.style.setProperty("--hue", hue(worker.slot));
  write(worker.tile, {
    name: `#${worker.id}`,
    slot: `slot ${worker.slot}`,
    pid: `pid ${worker.pid}`,
    since: `since ${worker.first}`,
  });
  holders.set(worker.slot, worker);
  const inOrder = [...holders.values()].sort((a, b) => a.slot - b.slot);
  element("tiles").replaceChildren(...inOrder.map(({ tile }) => tile));
  invite();
}

function leave(worker, news) {
  worker.tile.remove();
  holders.delete(worker.slot);
  worker.row = element("gone").insertRow(0);
  const { id, slot, pid, first, last, answers } = worker;
  for (const cell of [`#${id}`, slot, pid, first, last, answers]) {
    worker.row.insertCell().textContent = cell;
  }
  element("gone").rows[GONE_SHOWN]?.remove();
  element("past").hidden = false;
  tell(`${news} Requests failed: ${failed}.`);
  invite();
}

// Showing

function show(worker) {
  element("answered").textContent = answered.toLocaleString("en");
  element("p50").textContent = `${median(times).toFixed(1)} ms`;
  element("workers").textContent = holders.size;
  write(worker.tile, { answers: `${worker.answers.toLocaleString("en")} answers` });
  if (!calm.matches) {
    worker.glow?.cancel();
    worker.glow = worker.tile.querySelector(".lamp").animate({ opacity: [1, 0] }, 900);
  }
  const latest = document.createElement("li");
  latest.textContent = worker.id;
  latest.style.setProperty("--hue", hue(worker.slot));
  element("latest").prepend(latest);
  element("latest").children[LATEST_SHOWN]?.remove();
}

/** The invitation names a worker until that has gone. */
function invite() {
  const pids = [...holders.values()].map(({ pid }) => pid);
  const command = element("command");
  if (command && !pids.includes(Number(command.textContent.split(" ").at(-1)))) {
    command.textContent = `kill -9 ${pids.at(0) ?? "PID"}`;
  }
}

function tell(news) {
  element("news").textContent = news;
}

function write(tile, texts) {
  for (const [name, text] of Object.entries(texts)) {
    tile.querySelector(`.${name}`).textContent = text;
  }
}

/** Slots that are neighbours have colours that are not: the golden angle, in degrees. */
const hue = (slot) => (255 + slot * 137.5) % 360;

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

element("pause").onclick = () => {
  paused = !paused;
  element("pause").textContent = paused ? "Go on" : "Pause";
};
if (element("copy") && navigator.clipboard) { // it is there on localhost and with TLS only
  element("copy").hidden = false;
  element("copy").onclick = async () => {
    await navigator.clipboard.writeText(element("command").textContent);
    tell("Copied.");
  };
}
element("live").hidden = false;
askOnAndOn();
