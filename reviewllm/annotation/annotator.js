"use strict";
// One annotator's page: shows one pair at a time, keeps each answer in the browser at once, and hands them out as CSV.
// The reviews stand in the page as escaped text, all hidden but one; nothing here writes markup.
(() => {
  const { exportId, annotator } = document.body.dataset;
  const keptAs = `reviewllm-annotation/${exportId}/${annotator}`; // all pages of one folder may share one storage
  const pairs = [...document.querySelectorAll("article")];
  const ids = pairs.map((pair) => pair.dataset.pairId);
  const part = (id) => document.getElementById(id);

  let answers = new Map(); // pair id -> { similar: 0 or 1, at: milliseconds since 1970 }
  let place = 0;
  let isKept = true; // false where the browser keeps nothing: then the answers live as long as the page
  let isUnsaved = false; // answers that are neither kept nor downloaded

  /** Read the answers as kept, also those that another window with this page has kept since. */
  function recall() {
    if (!isKept) return;
    try {
      const kept = ids.map((id) => [id, (localStorage.getItem(`${keptAs}/${id}`) ?? "").split(" ").map(Number)]);
      const given = kept.filter(([, [similar, at]]) => [0, 1].includes(similar) && new Date(at).getTime() === at);
      answers = new Map(given.map(([id, [similar, at]]) => [id, { similar, at }]));
    } catch {
      sayNotKept();
    }
  }

  /** Keep a value; each answer under a name of its own, so that two windows do not overwrite each other's. */
  function keep(name, value) {
    if (!isKept) return;
    try {
      localStorage.setItem(`${keptAs}/${name}`, value);
    } catch {
      sayNotKept();
    }
  }

  function sayNotKept() {
    isKept = false;
    isUnsaved = answers.size > 0;
    part("notice").textContent =
      "This browser does not keep answers. Leave this page open and download your answers before you close or reload it, " +
      "or open the page in another browser.";
    part("notice").hidden = false;
  }

  /** The next pair without an answer after `start`, round the end; -1 where all have one. */
  function unanswered(start) {
    const open = [...ids.keys()].filter((index) => !answers.has(ids[index]));
    return open.find((index) => index > start) ?? open[0] ?? -1;
  }

  function give(similar) {
    recall();
    answers.set(ids[place], { similar, at: Date.now() });
    keep(ids[place], `${similar} ${answers.get(ids[place]).at}`);
    isUnsaved = !isKept;
    if (answers.size === 1) part("help").open = false;
    const next = unanswered(place);
    move(next < 0 ? place : next, `Pair ${place + 1}: ${similar ? "yes" : "no"}.`);
    if (next < 0) part("done").focus();
  }

  function clear() {
    recall();
    keep(ids[place], "");
    if (answers.delete(ids[place])) move(place, `Pair ${place + 1}: cleared.`);
  }

  function move(to, said = "") {
    if (to < 0 || to >= pairs.length) return;
    const isElsewhere = to !== place;
    place = to;
    keep("place", ids[place]);
    show(said);
    if (isElsewhere) pairs[place].querySelector("h2").focus({ preventScroll: true });
    if (isElsewhere || answers.size === pairs.length) window.scrollTo(0, 0);
  }

  function show(said) {
    const left = pairs.length - answers.size;
    const given = answers.get(ids[place])?.similar;
    pairs.forEach((pair, index) => (pair.hidden = index !== place));
    part("bar").value = answers.size;
    part("count").textContent = `${answers.size} of ${pairs.length} answered, ${left} left.`;
    part("last").textContent = said;
    part("yes").setAttribute("aria-pressed", given === 1);
    part("no").setAttribute("aria-pressed", given === 0);
    part("back").disabled = place === 0;
    part("next").disabled = place === pairs.length - 1;
    part("clear").disabled = given === undefined;
    part("first").disabled = left === 0;
    part("download").textContent = left ? `Download answers (${left} missing)` : "Download answers";
    part("download").classList.toggle("ready", left === 0);
    part("done").hidden = left > 0;
  }

  /** Ids are letters and digits, answers 0 or 1, times ISO 8601: nothing to quote, and nothing a spreadsheet computes. */
  function csv() {
    const lines = ids
      .filter((id) => answers.has(id))
      .map((id) => [exportId, annotator, id, answers.get(id).similar, new Date(answers.get(id).at).toISOString()]);
    return [["export_id", "annotator", "pair_id", "answer", "answered_at"], ...lines].map((line) => `${line}\r\n`).join("");
  }

  function download() {
    recall();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `${annotator}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    isUnsaved = false;
    show(`${link.download} holds ${answers.size} ${answers.size === 1 ? "answer" : "answers"}.`);
  }

  const actions = {
    yes: () => give(1),
    no: () => give(0),
    back: () => move(place - 1),
    next: () => move(place + 1),
    clear,
    first: () => move(unanswered(-1)),
    download,
  };
  const keys = { 1: "yes", y: "yes", 0: "no", n: "no", u: "clear", backspace: "clear", f: "first" };
  Object.assign(keys, { arrowleft: "back", arrowright: "next" });

  Object.entries(actions).forEach(([id, action]) => part(id).addEventListener("click", action));
  document.addEventListener("keydown", (event) => {
    const action = keys[event.key.toLowerCase()];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    // A key that is held down turns pages; it does not answer them.
    if (!event.repeat || ["back", "next"].includes(action)) actions[action]();
  });
  window.addEventListener("storage", (event) => {
    if (!event.key?.startsWith(keptAs)) return;
    recall();
    show("");
  });
  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved) event.preventDefault();
  });

  recall();
  part("help").open = answers.size === 0;
  move(Math.max(0, ids.indexOf(isKept && localStorage.getItem(`${keptAs}/place`))));
})();
