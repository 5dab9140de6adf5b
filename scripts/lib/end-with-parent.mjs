/**
 * Preloaded into what bootstrap.mjs starts: when bootstrap dies without being able to say so (SIGKILL), the channel
 * to it closes, and the program is asked to end as by SIGTERM.
 */
if (process.channel !== undefined && process.channel !== null) {
  process.once('disconnect', () => {
    // A program that listens for this itself ends by itself; a signal on top would be its second, which forces it.
    if (process.listenerCount('disconnect') === 0) process.kill(process.pid, 'SIGTERM');
  });
  process.channel.unref();
}
