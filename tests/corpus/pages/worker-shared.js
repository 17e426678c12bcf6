onconnect = async connected => {
  await fetch('/text/from-shared-worker');
  connected.ports[0].postMessage('done');
};
