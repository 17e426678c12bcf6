// Marks the menu entry of the section that the article is in.
const section = document.querySelector(".section");
for (const link of document.querySelectorAll(".mast nav a")) {
  if (section && link.textContent === section.textContent) link.style.fontWeight = "700";
}
