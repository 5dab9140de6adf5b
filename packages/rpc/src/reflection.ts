/** Server reflection over the generated descriptors: grpcurl and its like need no .proto files. */
import { create, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';

export function reflectionOf(services: readonly DescService[]): ReflectionService {
  return new ReflectionService(loadFileDescriptorSetFromBuffer(descriptorSetOf(services)));
}

/** A FileDescriptorSet of the services' files and all they import, imports first. */
export function descriptorSetOf(services: readonly DescService[]): Buffer {
  const files = new Map<string, FileDescriptorProto>();
  const add = (file: DescFile) => {
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.proto.name, file.proto);
  };
  for (const service of services) add(service.file);
  return Buffer.from(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files.values()] })));
}
