/**
 * The sample application: a small SaaS with shared tables, a tenant column in each, and reference data. It is what `drover up` loads on
 * every cluster and what the demo load writes to through the proxy.
 */
export const SAMPLE_SCHEMA = `
CREATE TABLE IF NOT EXISTS plans (
  code text PRIMARY KEY,
  title text NOT NULL,
  monthly_price numeric(10,2) NOT NULL
);
CREATE TABLE IF NOT EXISTS customers (
  tenant_id text NOT NULL,
  id bigint NOT NULL,
  email text NOT NULL,
  name text NOT NULL,
  plan text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, email)
);
CREATE TABLE IF NOT EXISTS orders (
  tenant_id text NOT NULL,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  customer_id bigint NOT NULL,
  status text NOT NULL DEFAULT 'pending',
  total numeric(12,2) NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (tenant_id, created_at);
CREATE TABLE IF NOT EXISTS order_items (
  tenant_id text NOT NULL,
  order_id uuid NOT NULL,
  line int NOT NULL,
  sku text NOT NULL,
  quantity int NOT NULL,
  price numeric(12,2) NOT NULL,
  PRIMARY KEY (tenant_id, order_id, line),
  FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id)
);
CREATE TABLE IF NOT EXISTS activity (
  tenant_id text NOT NULL,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind text NOT NULL,
  body text,
  PRIMARY KEY (tenant_id, id)
);
`;

/** Reference rows, written on the cluster that serves \`_shared\`. */
export const SAMPLE_REFERENCE = `
INSERT INTO plans (code, title, monthly_price) VALUES
  ('free', 'Free', 0), ('team', 'Team', 29), ('business', 'Business', 99), ('enterprise', 'Enterprise', 499)
ON CONFLICT (code) DO NOTHING;
`;

export const SAMPLE_DATABASE = 'app';
export const SAMPLE_REFERENCE_TABLES = ['public.plans'];
