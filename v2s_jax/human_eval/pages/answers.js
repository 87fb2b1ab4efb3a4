const at = id => document.getElementById(id);

/** What this browser has kept under a key, laid over what there is at first. */
function kept(key, first) {
  try { return Object.assign(first, JSON.parse(localStorage.getItem(key) || "{}")); }
  catch (error) { return first; }
}

function keep(key, state) {
  try { localStorage.setItem(key, JSON.stringify(state)); }
  catch (error) { at("warning").textContent = "This browser keeps nothing: download before you close."; }
}

function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

function csv(rows) {
  return rows.map(row => row.map(cell).join(",") + "\n").join("");
}

/** Offer a table as a file that bears the name of whoever answered; without one, ask for it. */
function offer(page, field, text) {
  const name = field.value.trim();
  if (!name) {
    at("warning").textContent = "Write your name first.";
    field.focus();
    return;
  }
  at("warning").textContent = "";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  link.download = page + "-" + name.replace(/[^\w-]+/g, "_") + ".csv";
  link.click();
}
