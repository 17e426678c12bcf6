importScripts('/worker-imported.js');
const CACHED = ['/text/cached-at-install', '/img/61.png'];
addEventListener('install', event => event.waitUntil(caches.open('c').then(cache => cache.addAll(CACHED)).then(() => skipWaiting())));
addEventListener('activate', event => event.waitUntil(clients.claim()));
addEventListener('fetch', event => {
  const path = new URL(event.request.url).pathname;
  if (path.startsWith('/made-up/')) event.respondWith(new Response('made up'));
  if (path.startsWith('/text/twice')) event.respondWith(fetch('/text/in-its-place').then(() => fetch(event.request)));
  if (path.startsWith('/text/through')) event.respondWith(fetch(event.request));
});
