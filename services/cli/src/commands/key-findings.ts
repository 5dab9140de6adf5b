/** Sealed tenants whose keys cannot be had on this machine, for `drover doctor`: what they write would be withheld, what was sealed not be opened. */
import type { Bus } from '@drover/bus';
import { KeyBucket, KeyRing, MasterKeys } from '@drover/catalog';
import type { Config } from '@drover/config';
import { DroverError, describeError, type TenantId } from '@drover/core';
import type { Finding } from '@drover/pg';

/** Tenants named in one finding. */
const NAMED_MAX = 10;
const OBJECT = 'keys of sealed tenants';

/** None where nobody is sealed. @throws DroverError `bus.*` */
export async function keyFindings(bus: Bus, config: Config): Promise<Finding[]> {
  let master: MasterKeys | null = null;
  const findings: Finding[] = [];
  try {
    master = MasterKeys.at(config.security.masterKey);
  } catch (error) {
    findings.push({
      severity: 'error',
      code: 'key_master',
      object: '[security] master_key',
      message: describeError(error),
    });
  }
  if (!(await KeyBucket.exists(bus))) return findings;
  const ring = await KeyRing.open(bus, { replicas: config.nats.replicas, master });
  try {
    const { sealed } = ring;
    const reasons = Map.groupBy(
      sealed.flatMap((tenant) => {
        const why = whyNot(ring, tenant);
        return why === null ? [] : [{ tenant, why }];
      }),
      ({ why }) => why,
    );
    for (const [why, tenants] of reasons)
      findings.push(
        missing(
          tenants.map(({ tenant }) => tenant),
          why,
        ),
      );
    if (sealed.length > 0 && findings.length === 0)
      findings.push({
        severity: 'ok',
        code: 'keys',
        object: OBJECT,
        message: `${sealed.length} can be had here`,
      });
    return findings;
  } finally {
    await ring.close();
  }
}

/** Of the key that seals, then of those that blocks in the streams may need; null: all can be had. */
function whyNot(ring: KeyRing, tenant: TenantId): string | null {
  try {
    ring.current(tenant);
    for (const id of ring.idsOf(tenant)) ring.find(tenant, id);
    return null;
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    // "tenant acme cannot be sealed: …", "a block of tenant acme is sealed under key 1: …"
    return error.message.replace(/^[^:]*: /, '');
  }
}

function missing(tenants: readonly TenantId[], why: string): Finding {
  const named = tenants.slice(0, NAMED_MAX).join(', ');
  const more = tenants.length > NAMED_MAX ? ` and ${tenants.length - NAMED_MAX} more` : '';
  return {
    severity: 'error',
    code: 'key_unavailable',
    object: OBJECT,
    message: `of ${named}${more} cannot be had here: ${why}; readers and apply workers here need [security] master_key to have it`,
  };
}
