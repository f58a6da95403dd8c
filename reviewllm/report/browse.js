// The example browser: shows those of the page's examples that fit the words and choices. Without it all are shown.
"use strict";
const form = document.getElementById("browse");
if (form) {
  const list = document.getElementById("example-list");
  const examples = Array.from(list.children);
  const original = new Map(examples.map((example, place) => [example, place]));
  const told = document.getElementById("browse-count");
  const texts = new Map();
  const textOf = (example) => {
    if (!texts.has(example)) texts.set(example, example.textContent.toLowerCase());
    return texts.get(example);
  };
  const update = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const example of examples) {
      const fits = ["split", "rating", "category"].every(
        (name) => !form.elements[name].value || example.dataset[name] === form.elements[name].value
      ) && words.every((word) => textOf(example).includes(word));
      example.hidden = !fits;
      shown += fits;
    }
    told.textContent = `${shown} of ${examples.length} examples shown`;
  };
  const order = () => {
    const by = form.elements.order.value;
    const value = (example) => (example.dataset[by] === "" ? -Infinity : Number(example.dataset[by]));
    const sorted = [...examples].sort((one, other) =>
      by ? value(other) - value(one) || original.get(one) - original.get(other) : original.get(one) - original.get(other));
    list.append(...sorted);
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", update);
  form.elements.order.addEventListener("change", order);
  update();
}
