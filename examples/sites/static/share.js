// Puts a share line under the date, with the address as a reader sees it.
const dated = document.querySelector(".dated");
if (dated) {
  const line = document.createElement("span");
  line.textContent = ` - ${decodeURI(location.href)}`;
  dated.append(line);
}
