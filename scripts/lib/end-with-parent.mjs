/**
 * Preloaded into what bootstrap.mjs starts: when bootstrap dies without being able to say so (SIGKILL), the channel
 * to it closes, and the program is asked to end as by SIGTERM.
 */
if (process.channel !== undefined && process.channel !== null) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}
