// Loads the comments after the article.
const list = document.getElementById("comments");
async function load() {
  const answer = await fetch(list.dataset.source);
  if (!answer.ok) return;
  for (const comment of await answer.json()) {
    const item = document.createElement("li");
    const name = document.createElement("b");
    name.textContent = `${comment.name}: `;
    item.append(name, comment.text);
    list.append(item);
  }
}
load();
