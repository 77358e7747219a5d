// What is nicer with a script: a button that copies a line, and the live list of the overview. Everything works without.
"use strict";
for (const line of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain small";
  button.textContent = line.dataset.copy;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(line.querySelector("code").textContent);
    button.textContent = "✓";
    setTimeout(() => { button.textContent = line.dataset.copy; }, 1500);
  });
  line.append(button);
}
for (const form of document.querySelectorAll("form[data-ask]")) {
  form.addEventListener("submit", (event) => { if (!window.confirm(form.dataset.ask)) event.preventDefault(); });
}
