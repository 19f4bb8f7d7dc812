output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Ids of the private subnets, in the order of the availability zones; their routes stand."
  value       = [for zone in var.availability_zones : aws_subnet.private[zone].id]

  depends_on = [
    aws_route_table_association.private,
    aws_route.private_nat,
    aws_vpc_endpoint.s3,
    aws_vpc_endpoint.interface,
  ]
}

output "public_subnet_ids" {
  description = "Ids of the public subnets, in the order of the availability zones; empty where there are none."
  value       = [for zone in var.availability_zones : aws_subnet.public[zone].id if local.has_public]

  depends_on = [
    aws_route_table_association.public,
    aws_route.public_internet,
  ]
}

output "https_egress" {
  description = "Where tasks must be let out to by HTTPS so that they can pull images and write logs, in the form of the module ecs's egress."
  value = merge(
    local.has_nat ? { internet = { cidr_ipv4 = "0.0.0.0/0", prefix_list_id = null, security_group_id = null } } : {},
    local.has_endpoints ? {
      endpoints = { cidr_ipv4 = null, prefix_list_id = null, security_group_id = aws_security_group.endpoints[0].id }
      s3        = { cidr_ipv4 = null, prefix_list_id = aws_vpc_endpoint.s3[0].prefix_list_id, security_group_id = null }
    } : {},
  )
}
