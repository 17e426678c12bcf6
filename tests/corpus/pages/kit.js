// A page's steps, one after another or together; a step that fails is what the page is there for.
const quietly = promise => promise.catch(error => String(error));
const take = (url, options) => quietly(fetch(url, options).then(answer => answer.arrayBuffer()));
const all = (urls, options) => Promise.all(urls.map(url => take(url, options)));
const each = async (urls, options) => { for (const url of urls) await take(url, options); };
const event = (target, ...names) => new Promise(done => names.forEach(name => target.addEventListener(name, done, {once: true})));
const element = (tag, fields, parent = document.body) => {
  const made = Object.assign(document.createElement(tag), fields);
  parent.append(made);
  return made;
};
const loaded = made => Promise.race([event(made, 'load', 'error'), new Promise(done => setTimeout(done, 2000))]);
const busy = location.pathname + Math.random();
take('/busy/begin?' + busy);
const done = async () => { document.title = 'done'; await take('/busy/end?' + busy, {method: 'POST'}); };
