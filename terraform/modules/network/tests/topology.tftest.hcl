mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = {
      arn = "arn:aws:logs:eu-central-1:111111111111:log-group:/vpc/demo-dev/flow"
    }
  }
  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::111111111111:role/demo-dev-vpc-flow-log"
    }
  }
}

variables {
  name               = "demo-dev"
  account_id         = "111111111111"
  region             = "eu-central-1"
  availability_zones = ["eu-central-1a", "eu-central-1b"]
}

run "endpoints_are_the_only_way_out_by_default" {
  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { eu-central-1a = "10.0.0.0/20", eu-central-1b = "10.0.16.0/20" }
    error_message = "Each zone must have its private subnet."
  }
  assert {
    condition     = length(aws_internet_gateway.this) == 0 && length(aws_nat_gateway.this) == 0 && length(aws_subnet.public) == 0
    error_message = "There must be no path to the internet."
  }
  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ecr.api", "ecr.dkr", "logs"] && aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway"
    error_message = "Tasks must reach the registry, its layers in S3 and the log service."
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface["logs"].subnet_ids) == 2
    error_message = "By default each zone must have its own endpoints."
  }
  assert {
    condition     = length(aws_default_security_group.this.ingress) == 0 && length(aws_default_security_group.this.egress) == 0
    error_message = "The default security group must have no rules."
  }
  assert {
    condition     = keys(output.https_egress) == ["endpoints", "s3"] && output.https_egress.endpoints.security_group_id == aws_security_group.endpoints[0].id
    error_message = "Tasks must be let out to the endpoints and to S3 only."
  }
  assert {
    condition     = aws_flow_log.this.traffic_type == "REJECT" && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "Refused traffic must be recorded for a year."
  }
}

run "one_nat_gateway_serves_all_zones_when_asked" {
  variables {
    egress               = "nat_gateway"
    egress_in_every_zone = false
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1a"] && length(aws_subnet.public) == 2
    error_message = "One NAT gateway must stand in the first zone's public subnet."
  }
  assert {
    condition     = alltrue([for route in aws_route.private_nat : route.nat_gateway_id == aws_nat_gateway.this["eu-central-1a"].id]) && length(aws_route.private_nat) == 2
    error_message = "Both zones must go out through it."
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && keys(output.https_egress) == ["internet"]
    error_message = "With a NAT gateway there are no interface endpoints to pay for."
  }
}

run "a_third_zone_moves_no_address" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    public_subnets     = true
  }

  assert {
    condition     = [for zone in ["a", "b", "c"] : aws_subnet.private["eu-central-1${zone}"].cidr_block] == ["10.0.0.0/20", "10.0.16.0/20", "10.0.32.0/20"]
    error_message = "Appending a zone must leave the others' subnets alone."
  }
  assert {
    condition     = aws_subnet.public["eu-central-1a"].cidr_block == "10.0.128.0/20"
    error_message = "Public subnets must have their own half of the addresses."
  }
}

run "the_role_is_bounded" {
  command = plan

  variables {
    role_path                = "/orch/demo-dev/"
    permissions_boundary_arn = "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"
  }

  assert {
    condition     = aws_iam_role.flow.permissions_boundary == "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary" && aws_iam_role.flow.path == "/orch/demo-dev/"
    error_message = "The flow log's role must carry the boundary, under the given path."
  }
}
