export { run } from './main.ts';
export { createVerifier } from './protocol/scram.ts';
export { generateSelfSigned } from './tls/certificate.ts';
