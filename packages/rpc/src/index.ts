export * from './gen/drover/v1/common_pb.js';
export * from './gen/drover/v1/failover_pb.js';
export * from './gen/drover/v1/migration_pb.js';
export * from './gen/drover/v1/replication_pb.js';
export * from './grpc-glue.ts';
export * from './server.ts';
